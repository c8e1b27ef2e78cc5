package facade

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

// topicView is the JSON of a topic.
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

	// Damage says why the topic is not served; nothing else is known of it then.
	Damage []jetstream.FileDamage `json:"damage,omitempty"`
}

// viewTopic returns the JSON of t. The first sequence of an empty topic is the one that its next message will have.
func viewTopic(t jetstream.Topic) topicView {
	view := topicView{
		Name:          t.Name,
		Subject:       jetstream.Subjects(t.Name),
		Created:       t.Created,
		Settings:      t.Settings,
		Messages:      t.Messages,
		Bytes:         t.Bytes,
		FirstSequence: t.FirstSequence,
		LastSequence:  t.LastSequence,
		Damage:        t.Damage,
		LastTime:      t.LastTime,
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

// topicPage is one page of the list of topics. Next is the name after which the next page starts, "" on the last
// page.
type topicPage struct {
	Topics []topicView `json:"topics"`
	Next   string      `json:"next,omitzero"`
}

func (f *Facade) v1ListTopics(ctx context.Context, c *fiber.Ctx) (response, error) {
	q := decode.NewQuery(c)
	prefix, after := q.Text("prefix"), q.Text("after")
	limit := q.Number("limit", 1, maxPage, defaultPage)
	if q.Err() != nil {
		return nil, q.Err()
	}

	topics, next, err := f.service.ListTopics(ctx, service.TopicQuery{
		Prefix: prefix, After: after, Limit: limit, Visible: callerOf(c).principal.Sees,
	})
	if err != nil {
		return nil, err
	}

	page := topicPage{Next: next}
	for _, t := range topics {
		page.Topics = append(page.Topics, viewTopic(t))
	}
	return reply(fiber.StatusOK, page), nil
}

func (f *Facade) v1CreateTopic(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}

	release, err := f.reserveTopic(ctx, c, topic)
	if err != nil {
		return nil, err
	}
	defer release()
	created, err := f.service.EnsureTopic(ctx, topic, settingsIn(c))
	if err != nil {
		return nil, err
	}

	status := fiber.StatusOK
	if created {
		status = fiber.StatusCreated
	}
	return f.describeTopic(ctx, status, topic)
}

func (f *Facade) v1ChangeTopic(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	if err := f.service.ChangeTopic(ctx, topic, settingsIn(c)); err != nil {
		return nil, err
	}
	return f.describeTopic(ctx, fiber.StatusOK, topic)
}

// settingsIn returns a function that changes the settings in the body of a request and leaves all others.
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
				const problem = `want a value, not null: leave it out to keep the present one, or give its zero value`
				return &decode.FieldError{Field: name, Problem: problem}
			}
		}
		return nil
	}
}

func (f *Facade) v1DescribeTopic(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	return f.describeTopic(ctx, fiber.StatusOK, topic)
}

// describeTopic returns the answer with an HTTP status that describes topic.
func (f *Facade) describeTopic(ctx context.Context, status int, topic string) (response, error) {
	d, err := f.service.DescribeTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	view := viewTopic(d.Topic)
	view.Consumers, view.Producers = &d.Consumers, &d.Producers
	return reply(status, view), nil
}

func (f *Facade) v1DeleteTopic(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	if err := f.service.Topics.Delete(ctx, topic); err != nil {
		return nil, err
	}
	return noContent{}, nil
}

// purged is the answer to a purge.
type purged struct {
	Purged uint64 `json:"purged"` // messages
}

func (f *Facade) v1Purge(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	upTo := q.Sequence("up_to", 1)
	if q.Err() != nil {
		return nil, q.Err()
	}

	if upTo == nil {
		upTo = new(uint64) // all messages
	}
	n, err := f.service.Topics.Purge(ctx, topic, *upTo)
	if err != nil {
		return nil, err
	}
	return reply(fiber.StatusOK, purged{Purged: n}), nil
}
