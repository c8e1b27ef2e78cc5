package facade

import (
	"context"
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

// newConsumer is a consumer as a client writes it.
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

// spec checks n and fills in what is not said.
func (n *newConsumer) spec(topic string) (c jetstream.Consumer, start service.Start, err error) {
	c = jetstream.Consumer{
		Topic: topic, Name: n.Name, Key: n.Key,
		MaxDeliveries: n.MaxDeliveries, DeadLetterTopic: n.DeadLetterTopic,
	}
	start = service.Start{New: true}
	if n.Start != nil {
		start = *n.Start
	}
	if err := checkConsumerName(n.Name); err != nil {
		return c, start, err
	}
	if err := jetstream.CheckKey(n.Key); err != nil {
		return c, start, &decode.FieldError{Field: "key", Problem: err.Error()}
	}
	switch n.Mode {
	case "", modeAuto:
		if n.Lease != nil || n.MaxInFlight != nil || n.MaxDeliveries != 0 || n.DeadLetterTopic != "" {
			return c, start, &decode.FieldError{Field: "mode", Problem: `lease, max_in_flight, max_deliveries and dead_letter_topic need the mode "lease"`}
		}
		return c, start, nil
	case modeLease:
		return c, start, n.leases(&c)
	}
	return c, start, &decode.FieldError{Field: "mode", Problem: fmt.Sprintf("want auto or lease, not %.100q", n.Mode)}
}

// leases checks what belongs to mode lease.
func (n *newConsumer) leases(c *jetstream.Consumer) error {
	c.Lease, c.MaxInFlight = defaultLease, defaultInFlight
	if n.Lease != nil {
		c.Lease = time.Duration(*n.Lease)
	}
	if n.MaxInFlight != nil {
		c.MaxInFlight = *n.MaxInFlight
	}
	switch {
	case c.Lease < minLease || c.Lease > maxLease:
		return &decode.FieldError{Field: "lease", Problem: fmt.Sprintf("want %s to %s, not %s", minLease, maxLease, c.Lease)}
	case c.MaxInFlight < 1 || c.MaxInFlight > maxInFlight:
		return &decode.FieldError{Field: "max_in_flight", Problem: fmt.Sprintf("want 1 to %d, not %d", maxInFlight, c.MaxInFlight)}
	case c.MaxDeliveries < 0:
		return &decode.FieldError{Field: "max_deliveries", Problem: fmt.Sprintf("want 0 for no limit, or more, not %d", c.MaxDeliveries)}
	case c.DeadLetterTopic != "" && c.MaxDeliveries == 0:
		return &decode.FieldError{Field: "dead_letter_topic", Problem: "it needs max_deliveries: without that no message ever gets there"}
	case c.DeadLetterTopic == c.Topic:
		return &jetstream.SettingError{Setting: "dead_letter_topic", Value: c.Topic, Want: "another topic"}
	case c.DeadLetterTopic != "":
		return jetstream.CheckName(c.DeadLetterTopic)
	}
	return nil
}

// checkConsumerName refuses names that could be taken for an id, or are a
// nuisance in a path. An empty one is no name.
func checkConsumerName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	switch {
	case name == "":
		return nil
	case len(name) > maxConsumerName || strings.Trim(name, letters) != "" || strings.Trim(name, ".") == "":
		return &decode.FieldError{Field: "name", Problem: fmt.Sprintf("want 1 to %d ASCII letters, digits, '-', '_' and '.'", maxConsumerName)}
	}
	if strings.Trim(name, "-0123456789") == "" {
		return &decode.FieldError{Field: "name", Problem: "a number could be taken for an id: add a letter"}
	}
	return nil
}

// consumerView is a consumer as clients see it.
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
	Position        uint64             `json:"position"`
	Lag             uint64             `json:"lag"`
	InFlight        uint64             `json:"in_flight"`
	Size            uint64             `json:"size"`
	PausedUntil     time.Time          `json:"paused_until,omitzero"`
}

// viewConsumer is consumer with how far it is.
func (f *Facade) viewConsumer(ctx context.Context, p *access.Principal, c jetstream.Consumer) (consumerView, error) {
	state, err := f.queue.Consumers.State(ctx, c)
	if err != nil {
		return consumerView{}, err
	}
	view := consumerView{
		ID: c.ID, Name: c.Name, Topic: c.Topic, Key: c.Key, Mode: modeAuto,
		Position: state.Position, Lag: state.Lag, InFlight: state.InFlight, Size: state.Lag + state.InFlight,
		PausedUntil: state.PausedUntil,
	}
	if c.Lease > 0 {
		view.Mode, view.Lease = modeLease, jetstream.Duration(c.Lease)
		view.MaxInFlight, view.MaxDeliveries = c.MaxInFlight, c.MaxDeliveries
		if p.Sees(c.DeadLetterTopic) {
			view.DeadLetterTopic = c.DeadLetterTopic
		}
	}
	return view, nil
}

// answerConsumer answers with a consumer.
func (f *Facade) answerConsumer(ctx context.Context, c *fiber.Ctx, status int, consumer jetstream.Consumer) (any, error) {
	view, err := f.viewConsumer(ctx, callerOf(c).principal, consumer)
	return reply{status, view}, err
}

func (f *Facade) v1CreateConsumer(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	var in newConsumer
	if err := decode.OptionalJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	spec, start, err := in.spec(topic)
	if err != nil {
		return nil, err
	}
	if err := f.prepareDeadLetters(ctx, c, spec); err != nil {
		return nil, err
	}
	var consumer jetstream.Consumer
	var made bool
	err = f.registerWithinQuota(ctx, c, func(ctx context.Context) (err error) {
		consumer, made, err = f.queue.CreateConsumer(ctx, spec, start)
		return err
	})
	if err != nil {
		return nil, err
	}
	status := fiber.StatusOK
	if made {
		status = fiber.StatusCreated
	}
	return f.answerConsumer(ctx, c, status, consumer)
}

// prepareDeadLetters sees to it that the dead-letter topic of a new consumer is
// there, and that the caller may write to it; else it would be a way to write
// anywhere.
func (f *Facade) prepareDeadLetters(ctx context.Context, c *fiber.Ctx, spec jetstream.Consumer) error {
	topic, p := spec.DeadLetterTopic, callerOf(c).principal
	if topic == "" {
		return nil
	}
	if _, err := f.queue.FirstSequence(ctx, spec.Topic, service.Start{New: true}); err != nil {
		return err
	}
	if err := p.RequireToCreate(topic, access.Produce); err != nil {
		return err
	}
	if may, err := f.mayMake(ctx, c, topic); !may || err != nil {
		return err
	}
	return f.createWithinQuota(ctx, c, topic, func(ctx context.Context) error { return f.queue.CreateTopicIfMissing(ctx, topic) })
}

func (f *Facade) v1ListConsumers(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	after, limit := q.Sequence("after", 0), q.Number("limit", 1, maxPage, defaultPage)
	if q.Err() != nil {
		return nil, q.Err()
	}
	all, err := f.queue.ListConsumers(ctx, topic)
	if err != nil {
		return nil, err
	}
	var out struct {
		Consumers []consumerView `json:"consumers"`
		Next      *int64         `json:"next,omitzero"`
	}
	for _, consumer := range all {
		if after != nil && uint64(consumer.ID) <= *after { //nolint:gosec // ids are not negative
			continue
		}
		if len(out.Consumers) == limit {
			out.Next = &out.Consumers[limit-1].ID
			break
		}
		view, err := f.viewConsumer(ctx, callerOf(c).principal, consumer)
		if err != nil {
			return nil, err
		}
		out.Consumers = append(out.Consumers, view)
	}
	return ok(out), nil
}

// consumerOf finds the consumer that the path names.
func (f *Facade) consumerOf(ctx context.Context, c *fiber.Ctx) (none jetstream.Consumer, err error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return none, err
	}
	label, err := decode.PathParameter(c, "consumer")
	if err != nil {
		return none, err
	}
	return f.queue.FindConsumer(ctx, topic, label)
}

func (f *Facade) v1DescribeConsumer(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return f.answerConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1DeleteConsumer(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	return noContent, f.queue.DeleteConsumer(ctx, consumer)
}

func (f *Facade) v1Seek(ctx context.Context, c *fiber.Ctx) (any, error) {
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
	if err := f.queue.Seek(ctx, consumer, to); err != nil {
		return nil, err
	}
	return f.answerConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1Pause(ctx context.Context, c *fiber.Ctx) (any, error) {
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
		return nil, &decode.FieldError{Field: "for", Problem: fmt.Sprintf("want a duration above 0s and up to %s", maxPause)}
	}
	if err := f.queue.Consumers.Pause(ctx, consumer, time.Now().Add(time.Duration(pause))); err != nil {
		return nil, err
	}
	return f.answerConsumer(ctx, c, fiber.StatusOK, consumer)
}

func (f *Facade) v1Resume(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := f.queue.Consumers.Pause(ctx, consumer, time.Time{}); err != nil {
		return nil, err
	}
	return f.answerConsumer(ctx, c, fiber.StatusOK, consumer)
}
