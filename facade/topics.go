package facade

import (
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

// topicView is a topic as clients see it.
type topicView struct {
	Name          string             `json:"name"`
	Subject       string             `json:"subject"`
	Created       time.Time          `json:"created"`
	Settings      jetstream.Settings `json:"settings"`
	Messages      uint64             `json:"messages"`
	Bytes         uint64             `json:"bytes"`
	FirstSequence uint64             `json:"first_sequence"`
	FirstTime     time.Time          `json:"first_time,omitzero"`
	LastSequence  uint64             `json:"last_sequence"`
	LastTime      time.Time          `json:"last_time,omitzero"`
	Consumers     *int               `json:"consumers,omitzero"`
	Producers     *int               `json:"producers,omitzero"`
}

func viewTopic(t jetstream.Topic) topicView {
	view := topicView{
		Name: t.Name, Subject: jetstream.Subjects(t.Name), Created: t.Created, Settings: t.Settings,
		Messages: t.Messages, Bytes: t.Bytes,
		FirstSequence: t.FirstSequence, LastSequence: t.LastSequence, LastTime: t.LastTime,
	}
	if t.Messages > 0 {
		view.FirstTime = t.FirstTime
	} else {
		view.FirstSequence = t.LastSequence + 1
	}
	if t.LastSequence == 0 {
		view.LastTime = time.Time{}
	}
	return view
}

func (f *Facade) v1ListTopics(ctx context.Context, c *fiber.Ctx) (any, error) {
	q := decode.NewQuery(c)
	prefix, after, limit := q.Text("prefix"), q.Text("after"), q.Number("limit", 1, maxPage, defaultPage)
	if q.Err() != nil {
		return nil, q.Err()
	}
	topics, err := f.queue.Topics.List(ctx)
	if err != nil {
		return nil, err
	}
	var out struct {
		Topics []topicView `json:"topics"`
		Next   string      `json:"next,omitzero"`
	}
	topics = slices.DeleteFunc(topics, func(t jetstream.Topic) bool { return !callerOf(c).principal.Sees(t.Name) })
	topics, more := service.Page(topics, prefix, after, limit)
	for _, t := range topics {
		out.Topics = append(out.Topics, viewTopic(t))
	}
	if more {
		out.Next = topics[len(topics)-1].Name
	}
	return ok(out), nil
}

func (f *Facade) v1CreateTopic(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	var made bool
	err = f.createWithinQuota(ctx, c, topic, func(ctx context.Context) (err error) {
		made, err = f.queue.EnsureTopic(ctx, topic, settingsIn(c))
		return err
	})
	if err != nil {
		return nil, err
	}
	out, err := f.describeTopic(ctx, topic)
	if made && err == nil {
		out.status = fiber.StatusCreated
	}
	return out, err
}

func (f *Facade) v1ChangeTopic(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	if err := f.queue.ChangeTopic(ctx, topic, settingsIn(c)); err != nil {
		return nil, err
	}
	return f.describeTopic(ctx, topic)
}

// settingsIn changes settings as the body of a request says.
func settingsIn(c *fiber.Ctx) func(*jetstream.Settings) error {
	return func(s *jetstream.Settings) error {
		if err := decode.OptionalJSON(c.BodyRaw(), s); err != nil {
			return err
		}
		var given map[string]jsontext.Value
		if err := decode.OptionalJSON(c.BodyRaw(), &given); err != nil {
			return err
		}
		for name, value := range given {
			if value.Kind() == 'n' {
				return &decode.FieldError{Field: name, Problem: "want a value, not null: leave it out to keep what there is, or give its zero for none"}
			}
		}
		return nil
	}
}

func (f *Facade) v1DescribeTopic(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	return f.describeTopic(ctx, topic)
}

func (f *Facade) describeTopic(ctx context.Context, topic string) (reply, error) {
	d, err := f.queue.DescribeTopic(ctx, topic)
	if err != nil {
		return reply{}, err
	}
	view := viewTopic(d.Topic)
	view.Consumers, view.Producers = &d.Consumers, &d.Producers
	return ok(view), nil
}

func (f *Facade) v1DeleteTopic(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	return noContent, f.queue.DeleteTopic(ctx, topic)
}

func (f *Facade) v1Purge(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	upTo := q.Sequence("up_to", 1)
	if q.Err() != nil {
		return nil, q.Err()
	}
	var out struct {
		Purged uint64 `json:"purged"`
	}
	if upTo == nil {
		upTo = new(uint64)
	}
	out.Purged, err = f.queue.Topics.Purge(ctx, topic, *upTo)
	return ok(out), err
}
