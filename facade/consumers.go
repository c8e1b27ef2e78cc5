package facade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

// The modes of a consumer.
const (
	modeAuto  = "auto"
	modeLease = "lease"
)

// A newConsumer is the body of the call that creates a consumer.
type newConsumer struct {
	Name            string              `json:"name"`
	Start           *service.Start      `json:"start"`
	Key             string              `json:"key"`
	Mode            string              `json:"mode"`
	Lease           *jetstream.Duration `json:"lease"`
	MaxInFlight     *int                `json:"max_in_flight"`
	MaxDeliveries   int                 `json:"max_deliveries"`
	DeadLetterTopic string              `json:"dead_letter_topic"`
}

// spec checks n and returns the consumer that it describes, with defaults for missing fields.
func (n *newConsumer) spec(topic string) (jetstream.Consumer, error) {
	c := jetstream.Consumer{
		Topic:           topic,
		Name:            n.Name,
		Key:             n.Key,
		MaxDeliveries:   n.MaxDeliveries,
		DeadLetterTopic: n.DeadLetterTopic,
	}
	if err := checkConsumerName(n.Name); err != nil {
		return c, err
	}
	if err := jetstream.CheckKey(n.Key); err != nil {
		return c, &decode.FieldError{Field: "key", Problem: err.Error()}
	}

	switch n.Mode {
	case "", modeAuto:
		if n.Lease != nil || n.MaxInFlight != nil || n.MaxDeliveries != 0 || n.DeadLetterTopic != "" {
			const problem = `lease, max_in_flight, max_deliveries and dead_letter_topic need the mode "lease"`
			return c, &decode.FieldError{Field: "mode", Problem: problem}
		}
		return c, nil
	case modeLease:
		err := n.setLease(&c)
		return c, err
	}
	return c, &decode.FieldError{Field: "mode", Problem: fmt.Sprintf("want auto or lease, not %.100q", n.Mode)}
}

// start returns where the consumer starts: after the last message, unless n says otherwise.
func (n *newConsumer) start() service.Start {
	if n.Start == nil {
		return service.Start{New: true}
	}
	return *n.Start
}

// setLease checks the fields of mode "lease" and sets them in c.
func (n *newConsumer) setLease(c *jetstream.Consumer) error {
	c.Lease, c.MaxInFlight = defaultLease, defaultInFlight
	if n.Lease != nil {
		c.Lease = time.Duration(*n.Lease)
	}
	if n.MaxInFlight != nil {
		c.MaxInFlight = *n.MaxInFlight
	}

	refuse := func(field, format string, values ...any) error {
		return &decode.FieldError{Field: field, Problem: fmt.Sprintf(format, values...)}
	}
	switch {
	case c.Lease < minLease || c.Lease > maxLease:
		return refuse("lease", "want %s to %s, not %s", minLease, maxLease, c.Lease)
	case c.MaxInFlight < 1 || c.MaxInFlight > maxInFlight:
		return refuse("max_in_flight", "want 1 to %d, not %d", maxInFlight, c.MaxInFlight)
	case c.MaxDeliveries < 0:
		return refuse("max_deliveries", "want 0 for no limit, or more, not %d", c.MaxDeliveries)
	case c.DeadLetterTopic != "" && c.MaxDeliveries == 0:
		return refuse("dead_letter_topic", "it needs max_deliveries: without that no message ever gets there")
	case c.DeadLetterTopic == c.Topic:
		return &jetstream.SettingError{Setting: "dead_letter_topic", Value: c.Topic, Want: "another topic"}
	case c.DeadLetterTopic != "":
		return jetstream.CheckName(c.DeadLetterTopic)
	}
	return nil
}

// checkConsumerName refuses names that look like an id or cannot be part of a path. It accepts "", which means no name.
func checkConsumerName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	refuse := func(problem string) error { return &decode.FieldError{Field: "name", Problem: problem} }

	switch {
	case name == "":
		return nil
	case len(name) > maxConsumerName || strings.Trim(name, letters) != "" || strings.Trim(name, ".") == "":
		return refuse(fmt.Sprintf("want 1 to %d ASCII letters, digits, '-', '_' and '.'", maxConsumerName))
	case strings.Trim(name, "-0123456789") == "":
		return refuse("a number could be taken for an id: add a letter")
	}
	return nil
}

// consumerView is the JSON of a consumer.
type consumerView struct {
	ID              int64              `json:"id"`
	Name            string             `json:"name,omitzero"`
	Topic           string             `json:"topic"`
	Key             string             `json:"key,omitzero"`
	Mode            string             `json:"mode"`
	Lease           jetstream.Duration `json:"lease,omitzero"`
	MaxInFlight     int                `json:"max_in_flight,omitzero"`
	MaxDeliveries   int                `json:"max_deliveries,omitzero"`
	DeadLetterTopic string             `json:"dead_letter_topic,omitzero"`
	// DeadLetterTopicMissing says that the dead-letter topic was deleted: messages for it wait.
	DeadLetterTopicMissing bool      `json:"dead_letter_topic_missing,omitzero"`
	Position               uint64    `json:"position"`
	Lag                    uint64    `json:"lag"`
	InFlight               uint64    `json:"in_flight"`
	Size                   uint64    `json:"size"`
	DroppedUnread          *uint64   `json:"dropped_unread,omitzero"`
	PausedUntil            time.Time `json:"paused_until,omitzero"`
}

// viewConsumer returns the JSON of a consumer with its present state. The dead-letter topic is left out if p may not
// see it.
func (f *Facade) viewConsumer(
	ctx context.Context, p *access.Principal, c jetstream.Consumer,
) (consumerView, error) {
	state, err := f.service.Consumers.State(ctx, c)
	if err != nil {
		return consumerView{}, err
	}

	view := consumerView{
		ID:            c.ID,
		Name:          c.Name,
		Topic:         c.Topic,
		Key:           c.Key,
		Mode:          modeAuto,
		Position:      state.Position,
		Lag:           state.Lag,
		InFlight:      state.InFlight,
		Size:          state.Lag + state.InFlight,
		DroppedUnread: state.Dropped,
		PausedUntil:   state.PausedUntil,
	}
	if c.Lease > 0 {
		view.Mode, view.Lease = modeLease, jetstream.Duration(c.Lease)
		view.MaxInFlight, view.MaxDeliveries = c.MaxInFlight, c.MaxDeliveries
	}
	if c.DeadLetterTopic == "" || !p.Sees(c.DeadLetterTopic) {
		return view, nil
	}

	view.DeadLetterTopic = c.DeadLetterTopic
	_, err = f.service.Topics.LastSequence(ctx, c.DeadLetterTopic)
	var missing *jetstream.TopicNotFoundError
	if errors.As(err, &missing) {
		view.DeadLetterTopicMissing, err = true, nil
	}
	return view, err
}

// describeConsumer returns the answer with an HTTP status that describes a consumer.
func (f *Facade) describeConsumer(
	ctx context.Context, c *fiber.Ctx, status int, consumer jetstream.Consumer,
) (response, error) {
	view, err := f.viewConsumer(ctx, callerOf(c).principal, consumer)
	if err != nil {
		return nil, err
	}
	return reply(status, view), nil
}

func (f *Facade) v1CreateConsumer(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	var in newConsumer
	if err := decode.OptionalJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	spec, err := in.spec(topic)
	if err != nil {
		return nil, err
	}
	if err := f.ensureDeadLetterTopic(ctx, c, spec); err != nil {
		return nil, err
	}

	release, err := f.reserveConsumer(ctx, c)
	if err != nil {
		return nil, err
	}
	defer release()
	consumer, created, err := f.service.CreateConsumer(ctx, spec, in.start())
	if err != nil {
		return nil, err
	}

	status := fiber.StatusOK
	if created {
		status = fiber.StatusCreated
	}
	return f.describeConsumer(ctx, c, status, consumer)
}

// ensureDeadLetterTopic creates the dead-letter topic of a new consumer if it does not exist. The caller must be
// allowed to produce to it: otherwise a client could write to any topic through the dead letters of a consumer.
func (f *Facade) ensureDeadLetterTopic(ctx context.Context, c *fiber.Ctx, spec jetstream.Consumer) error {
	topic := spec.DeadLetterTopic
	if topic == "" {
		return nil
	}
	if _, err := f.service.FirstSequence(ctx, spec.Topic, service.Start{New: true}); err != nil {
		return err
	}
	if err := callerOf(c).principal.RequireToCreate(topic, access.Produce); err != nil {
		return err
	}
	if may, err := f.mayCreate(ctx, c, topic); !may || err != nil {
		return err
	}

	release, err := f.reserveTopic(ctx, c, topic)
	if err != nil {
		return err
	}
	defer release()
	return f.service.CreateTopicIfMissing(ctx, topic)
}

// consumerPage is one page of the list of consumers. Next is the id after which the next page starts, nil on the last
// page.
type consumerPage struct {
	Consumers []consumerView `json:"consumers"`
	Next      *int64         `json:"next,omitzero"`
}

func (f *Facade) v1ListConsumers(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	after, limit := q.Sequence("after", 0), q.Number("limit", 1, maxPage, defaultPage)
	if q.Err() != nil {
		return nil, q.Err()
	}

	all, err := f.service.ListConsumers(ctx, topic)
	if err != nil {
		return nil, err
	}
	var page consumerPage
	for _, consumer := range all {
		if after != nil && uint64(consumer.ID) <= *after {
			continue
		}
		if len(page.Consumers) == limit {
			page.Next = &page.Consumers[limit-1].ID
			break
		}
		view, err := f.viewConsumer(ctx, callerOf(c).principal, consumer)
		if err != nil {
			return nil, err
		}
		page.Consumers = append(page.Consumers, view)
	}
	return reply(fiber.StatusOK, page), nil
}

// pathOfConsumer returns the topic and the name or id of the consumer that the path names.
func pathOfConsumer(c *fiber.Ctx) (topic, label string, err error) {
	if topic, err = decode.PathParameter(c, "topic"); err != nil {
		return "", "", err
	}
	label, err = decode.PathParameter(c, "consumer")
	return topic, label, err
}

// consumerOf returns the consumer that the path names.
func (f *Facade) consumerOf(ctx context.Context, c *fiber.Ctx) (jetstream.Consumer, error) {
	topic, label, err := pathOfConsumer(c)
	if err != nil {
		return jetstream.Consumer{}, err
	}
	return f.service.FindConsumer(ctx, topic, label)
}

func (f *Facade) v1DescribeConsumer(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return f.describeConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1DeleteConsumer(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, label, err := pathOfConsumer(c)
	if err != nil {
		return nil, err
	}
	if err := f.service.DeleteConsumer(ctx, topic, label); err != nil {
		return nil, err
	}
	return noContent{}, nil
}

func (f *Facade) v1Seek(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var in struct {
		To *service.Start `json:"to"`
	}
	if err := decode.StrictJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	to, err := decode.Required("to", in.To)
	if err != nil {
		return nil, err
	}

	if err := f.service.Seek(ctx, consumer, to); err != nil {
		return nil, err
	}
	return f.describeConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1Pause(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var in struct {
		For *jetstream.Duration `json:"for"`
	}
	if err := decode.StrictJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	pause, err := decode.Required("for", in.For)
	if err != nil {
		return nil, err
	}
	if pause <= 0 || pause > jetstream.Duration(maxPause) {
		problem := fmt.Sprintf("want a duration above 0s and up to %s", maxPause)
		return nil, &decode.FieldError{Field: "for", Problem: problem}
	}

	if err := f.service.Consumers.Pause(ctx, consumer, time.Now().Add(time.Duration(pause))); err != nil {
		return nil, err
	}
	return f.describeConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1Resume(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := f.service.Consumers.Pause(ctx, consumer, time.Time{}); err != nil {
		return nil, err
	}
	return f.describeConsumer(ctx, c, fiber.StatusOK, consumer)
}
