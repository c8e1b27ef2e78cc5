package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Delayed messages wait in a stream of their own, as the engine's scheduled
// messages, so that no reader of a topic has to step over them and a topic may
// refuse new messages when it is full (the engine allows no schedules in such a
// stream). When its time has come the engine moves a message to the subject of
// its topic's queue, from where one of the processes takes it to its topic.
const (
	delayStream  = "dq_delayed"
	waitSubject  = "dq-delayed.wait." // and an id
	dueSubject   = "dq-delayed.due."  // and the encoded topic
	delayTaker   = "taker"            // the durable consumer
	delayRetry   = 5 * time.Second    // pause before what failed is tried again
	delayKey     = "Dq-Delay-Key"     // header with the key, while it waits
	delayID      = "Dq-Delay-Id"      // header with the idempotency key, while it waits
	delayTTL     = "Dq-Delay-Ttl"     // header with the TTL, while it waits
	delayUntil   = "Dq-Delay-Until"   // header with the time, in microseconds of Unix time
	maxDelay     = 365 * 24 * time.Hour
	takeAckAfter = 30 * time.Second
)

// A Delayer stores messages to be produced later, and moves those that are due.
type Delayer struct {
	topics *Topics
	log    *slog.Logger
	taking jetstream.ConsumeContext
}

// StartDelayer opens the stream of the delayed messages and starts to move
// those that are due. Stop ends that.
func StartDelayer(ctx context.Context, topics *Topics, log *slog.Logger) (*Delayer, error) {
	d := &Delayer{topics: topics, log: log}
	stream, err := topics.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              delayStream,
		Description:       "messages that wait for their time",
		Subjects:          []string{waitSubject + "*", dueSubject + "*"},
		Storage:           topics.opts.Storage,
		Replicas:          topics.opts.Replicas,
		AllowMsgSchedules: true,
		AllowDirect:       true,
	})
	if err != nil {
		return nil, unavailable("open the delayed messages", err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       delayTaker,
		FilterSubject: dueSubject + "*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       takeAckAfter,
	})
	if err != nil {
		return nil, unavailable("open the delayed messages", err)
	}
	if d.taking, err = consumer.Consume(func(m jetstream.Msg) { d.take(stream, m) }); err != nil {
		return nil, unavailable("take delayed messages", err)
	}
	return d, nil
}

// Stop ends the moving of due messages.
func (d *Delayer) Stop() {
	d.taking.Stop()
	<-d.taking.Closed()
}

// Delay stores drafts, each to be produced to topic at its time. They are stored
// when it returns; a topic that is deleted meanwhile takes them with it.
func (d *Delayer) Delay(ctx context.Context, topic string, draft Draft) error {
	if _, err := d.topics.stream(ctx, topic); err != nil {
		return err
	}
	m := nats.NewMsg(waitSubject + nuid.Next())
	m.Data = draft.Data
	for name, value := range draft.Headers {
		m.Header[name] = []string{value}
	}
	if draft.ContentType != "" {
		m.Header.Set(contentTypeHeader, draft.ContentType)
	}
	m.Header.Set(delayKey, draft.Key)
	m.Header.Set(delayID, draft.ID)
	m.Header.Set(delayTTL, draft.TTL.String())
	m.Header.Set(delayUntil, strconv.FormatInt(draft.At.UnixMicro(), 10))
	opts := []jetstream.PublishOpt{
		jetstream.WithScheduleAt(draft.At),
		jetstream.WithScheduleTarget(dueSubject + EncodeName(topic)),
	}
	if draft.ID != "" {
		opts = append(opts, jetstream.WithMsgID(EncodeName(topic)+"/"+draft.ID))
	}
	if _, err := d.topics.js.PublishMsg(ctx, m, opts...); err != nil {
		return unavailable("store a delayed message", err)
	}
	return nil
}

// take moves a message that is due to its topic. If the process dies on the way
// it is moved again, and the topic recognises its id.
func (d *Delayer) take(stream jetstream.Stream, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	meta, err := m.Metadata()
	if err != nil {
		d.log.Error("a delayed message has no place", "error", err)
		return
	}
	until, _ := strconv.ParseInt(m.Headers().Get(delayUntil), 10, 64)
	if early := time.Until(time.UnixMicro(until)); early > 0 { // the engine knows whole seconds only
		_ = m.NakWithDelay(early)
		return
	}
	topic, _ := DecodeName(strings.TrimPrefix(m.Subject(), dueSubject))
	draft := Draft{
		Key:  m.Headers().Get(delayKey),
		ID:   m.Headers().Get(delayID),
		Data: m.Data(),

		ContentType: m.Headers().Get(contentTypeHeader),
	}
	draft.TTL, _ = time.ParseDuration(m.Headers().Get(delayTTL))
	if draft.ID == "" {
		draft.ID = fmt.Sprintf("dq-delayed-%d", meta.Sequence.Stream)
	}
	for name, values := range m.Headers() {
		if !Reserved(name) && len(values) > 0 {
			if draft.Headers == nil {
				draft.Headers = make(map[string]string)
			}
			draft.Headers[name] = values[0]
		}
	}
	err = d.topics.PublishAll(ctx, topic, []Draft{draft})[0].Err
	var gone *NotFoundError
	switch {
	case errors.As(err, &gone):
		d.log.Warn("a delayed message was dropped: its topic was deleted", "topic", topic)
	case err != nil:
		d.log.Error("a delayed message could not be stored, and will be tried again", "topic", topic, "error", err)
		_ = m.NakWithDelay(delayRetry)
		return
	}
	if err := d.topics.opts.sync(ctx); err != nil {
		d.log.Error("a delayed message is to be stored again", "topic", topic, "error", err)
		return
	}
	if err := m.DoubleAck(ctx); err != nil {
		return // it comes again
	}
	if err := stream.DeleteMsg(ctx, meta.Sequence.Stream); err != nil {
		d.log.Warn("a delayed message that was moved is still there", "sequence", meta.Sequence.Stream, "error", err)
	}
}
