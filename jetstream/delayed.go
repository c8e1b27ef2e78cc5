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

	"dq/jetstream/engine"
)

// Delayed messages wait in a stream of their own, as scheduled messages of the engine.
// In the stream of their topic, readers would have to skip them, and the topic could
// not refuse new messages when it is full: the engine allows no schedules in such a
// stream. At its time, the engine moves a message to the subject of the due messages
// of its topic, and one of the processes moves it from there to the topic itself.
const (
	delayStream  = "dq-delayed"       // not the stream of a topic: those start with engine.TopicPrefix
	waitSubject  = "dq-delayed.wait." // and a random id: messages that wait
	dueSubject   = "dq-delayed.due."  // and the encoded topic: messages that are due
	delayTaker   = "taker"            // the durable consumer of the due messages
	delayRetry   = 5 * time.Second    // pause before a failed move is tried again
	takeAckAfter = 30 * time.Second   // an unconfirmed move is tried again
)

// The headers of a message while it waits. Its own headers get a prefix, so that the
// engine and nats.go do not interpret them.
const (
	delayTopic  = "Dq-Delay-Topic"  // when the topic was created, in nanoseconds of Unix time
	delayUntil  = "Dq-Delay-Until"  // when it is due, in microseconds of Unix time
	delayKey    = "Dq-Delay-Key"    // its key, encoded
	delayID     = "Dq-Delay-Id"     // its idempotency key, encoded
	delayTTL    = "Dq-Delay-Ttl"    // its TTL
	delayType   = "Dq-Delay-Type"   // its content type
	delayHeader = "Dq-Delay-Header" // and "-" and a name: its headers
)

// A Delayer stores messages that are to be produced later, and moves those that are
// due to their topics.
type Delayer struct {
	topics *Topics
	log    *slog.Logger
	taking jetstream.ConsumeContext
	before uint64 // the last sequence when this process started
}

// StartDelayer opens the stream of the delayed messages and starts to move
// those that are due, until Stop. Errors: [*UnavailableError].
func StartDelayer(ctx context.Context, topics *Topics, log *slog.Logger) (*Delayer, error) {
	d := &Delayer{topics: topics, log: log}
	stream, err := EnsureStream(ctx, topics.js, jetstream.StreamConfig{
		Name:              delayStream,
		Description:       "messages that wait for their time",
		Subjects:          []string{waitSubject + "*", dueSubject + "*"},
		Storage:           topics.opts.Storage,
		Replicas:          topics.opts.Replicas,
		AllowMsgSchedules: true,
		AllowDirect:       true,
	})
	if err != nil {
		return nil, engine.Unavailable("open the delayed messages", err)
	}
	d.before = stream.CachedInfo().State.LastSeq
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       delayTaker,
		FilterSubject: dueSubject + "*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       takeAckAfter,
		MaxAckPending: -1, // messages for a full topic must not keep others back
	})
	if err != nil {
		return nil, engine.Unavailable("open the delayed messages", err)
	}
	if d.taking, err = consumer.Consume(func(m jetstream.Msg) { d.take(stream, m) }); err != nil {
		return nil, engine.Unavailable("take delayed messages", err)
	}
	return d, nil
}

// Stop stops moving due messages, and returns when the move under way has ended.
func (d *Delayer) Stop() {
	d.taking.Stop()
	<-d.taking.Closed()
}

// Delay stores drafts, each to be produced to topic at its time. If the topic is
// deleted before, they are dropped. Errors: [*TopicNotFoundError], [*UnavailableError];
// errors in the receipts: [*MessageTooLargeError], [*UnavailableError].
func (d *Delayer) Delay(ctx context.Context, topic string, drafts []Draft) ([]Receipt, error) {
	stream, err := d.topics.stream(ctx, topic)
	if err != nil {
		return nil, err
	}
	created := creation(stream)
	limit := int(stream.CachedInfo().Config.MaxMsgSize)
	receipts := make([]Receipt, len(drafts))
	var msgs []*nats.Msg
	var places []int // in drafts
	for i := range drafts {
		final := drafts[i].encode(topic)
		if limit >= 0 && final.Size()-len(final.Subject) > limit { // refuse it while the client still listens
			receipts[i].Err = &MessageTooLargeError{Topic: topic, Limit: limit}
			continue
		}
		msgs, places = append(msgs, drafts[i].wait(topic, created)), append(places, i)
	}
	if len(msgs) == 0 {
		return receipts, nil
	}
	for j, a := range d.topics.publisher.publish(ctx, msgs...) {
		receipts[places[j]] = Receipt{Delayed: true, Duplicate: a.duplicate}
		if a.err != nil {
			receipts[places[j]] = Receipt{Err: engine.Unavailable("store a delayed message", a.err)}
		}
	}
	return receipts, nil
}

// creation returns the time at which a topic was created, which tells it from an
// earlier or later topic of the same name.
func creation(stream jetstream.Stream) string {
	return strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 10)
}

// wait returns the message that waits for the time of draft.
func (draft *Draft) wait(topic, created string) *nats.Msg {
	m := nats.NewMsg(waitSubject + nuid.Next())
	m.Data = draft.Data
	for name, value := range draft.Headers {
		m.Header.Set(delayHeader+"-"+name, value)
	}
	m.Header.Set(delayTopic, created)
	m.Header.Set(delayUntil, strconv.FormatInt(draft.At.UnixMicro(), 10))
	m.Header.Set(delayKey, EncodeName(draft.Key))
	m.Header.Set(delayID, EncodeName(draft.ID))
	m.Header.Set(delayTTL, draft.TTL.String())
	m.Header.Set(delayType, draft.ContentType)
	m.Header.Set(jetstream.ScheduleHeader, "@at "+draft.At.UTC().Format(time.RFC3339))
	m.Header.Set(jetstream.ScheduleTargetHeader, dueSubject+EncodeName(topic))
	if draft.ID != "" {
		m.Header.Set(jetstream.MsgIDHeader, EncodeName(topic)+"/"+created+"/"+EncodeName(draft.ID))
	}
	return m
}

// take moves a message that is due to its topic. If the process dies before it has
// confirmed the move, the engine delivers the message again; take then checks whether
// the topic already has it, because the topic's dedup window may have passed.
func (d *Delayer) take(stream jetstream.Stream, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), d.topics.opts.CallTimeout)
	defer cancel()
	meta, err := m.Metadata()
	if err != nil {
		d.log.Error("a delayed message has no sequence", "error", err)
		return
	}
	until, _ := strconv.ParseInt(m.Headers().Get(delayUntil), 10, 64)
	if early := time.Until(time.UnixMicro(until)); early > 0 { // the engine knows whole seconds only
		_ = m.NakWithDelay(early)
		return
	}
	topic, _ := DecodeName(strings.TrimPrefix(m.Subject(), dueSubject))
	draft := due(m, meta.Sequence.Stream)
	if meta.NumDelivered > 1 || meta.Sequence.Stream <= d.before {
		draft.At = time.UnixMicro(until) // the topic may already have it, stored at that time or later
	}
	err = d.produce(ctx, topic, m.Headers().Get(delayTopic), draft)
	var gone *TopicNotFoundError
	switch {
	case errors.As(err, &gone):
		d.log.Warn("a delayed message was dropped: its topic was deleted", "topic", topic)
	case err != nil:
		d.log.Error("a delayed message could not be stored, and will be tried again", "topic", topic, "error", err)
		_ = m.NakWithDelay(delayRetry)
		return
	}
	if err := d.topics.opts.sync(ctx); err != nil {
		d.log.Error("syncing a delayed message failed, it will be moved again", "topic", topic, "error", err)
		return
	}
	if err := m.DoubleAck(ctx); err != nil {
		return // the engine delivers it again
	}
	if err := stream.DeleteMsg(ctx, meta.Sequence.Stream); err != nil {
		d.log.Warn("a delayed message was moved, but could not be removed from those that wait",
			"sequence", meta.Sequence.Stream, "error", err)
	}
}

// due returns the draft from which the waiting message m was made.
func due(m jetstream.Msg, sequence uint64) Draft {
	draft := Draft{ContentType: m.Headers().Get(delayType), Data: m.Data()}
	draft.Key, _ = DecodeName(m.Headers().Get(delayKey))
	draft.ID, _ = DecodeName(m.Headers().Get(delayID))
	draft.TTL, _ = time.ParseDuration(m.Headers().Get(delayTTL))
	if draft.ID == "" {
		draft.ID = fmt.Sprintf("%sdelayed-%d", ReservedIDPrefix, sequence)
	}
	for name, values := range m.Headers() {
		if name, found := strings.CutPrefix(name, delayHeader+"-"); found {
			if draft.Headers == nil {
				draft.Headers = make(map[string]string)
			}
			draft.Headers[name] = values[0]
		}
	}
	return draft
}

// produce appends draft to topic if that is still the topic created at that time. If
// draft.At is not zero, the topic may have the message already, stored since then.
func (d *Delayer) produce(ctx context.Context, topic, created string, draft Draft) error {
	stream, err := d.topics.stream(ctx, topic)
	if err != nil {
		return err
	}
	if creation(stream) != created {
		return &TopicNotFoundError{Topic: topic} // another topic has its name
	}
	if !draft.At.IsZero() {
		if moved, err := d.moved(ctx, topic, draft); moved || err != nil {
			return err
		}
	}
	return d.topics.PublishAll(ctx, topic, []Draft{draft})[0].Err
}

// moved reports whether topic has stored draft since draft.At.
func (d *Delayer) moved(ctx context.Context, topic string, draft Draft) (bool, error) {
	r := Range{Since: draft.At, Key: draft.Key, Max: readAllMessages, MaxBytes: readAllBytes}
	for {
		messages, err := d.topics.Read(ctx, topic, r)
		if err != nil || len(messages) == 0 {
			return false, err
		}
		for _, m := range messages {
			if m.id == draft.ID {
				return true, nil
			}
			r.From, r.Since = m.Sequence+1, time.Time{}
		}
	}
}
