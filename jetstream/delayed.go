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

// Delayed messages wait in a stream of their own, as the engine's scheduled
// messages, so that no reader of a topic has to step over them and a topic may
// refuse new messages when it is full (the engine allows no schedules in such a
// stream). When its time has come the engine moves a message to the subject of
// its topic's queue, from where one of the processes takes it to its topic.
const (
	delayStream  = "dq-delayed"       // no topic's: those start with TopicPrefix
	waitSubject  = "dq-delayed.wait." // and an id
	dueSubject   = "dq-delayed.due."  // and the encoded topic
	delayTaker   = "taker"            // the durable consumer
	delayRetry   = 5 * time.Second    // pause before what failed is tried again
	takeAckAfter = 30 * time.Second
)

// What a message has in its headers while it waits. Its own headers have a
// prefix, lest the engine or its library take one for theirs.
const (
	delayTopic  = "Dq-Delay-Topic"  // when the topic was created, in nanoseconds of Unix time
	delayUntil  = "Dq-Delay-Until"  // when it is due, in microseconds of Unix time
	delayKey    = "Dq-Delay-Key"    // its key, encoded
	delayID     = "Dq-Delay-Id"     // its idempotency key, encoded
	delayTTL    = "Dq-Delay-Ttl"    // its TTL
	delayType   = "Dq-Delay-Type"   // its content type
	delayHeader = "Dq-Delay-Header" // and "-" and a name: its headers
)

// A Delayer stores messages to be produced later, and moves those that are due.
type Delayer struct {
	topics *Topics
	log    *slog.Logger
	taking jetstream.ConsumeContext
	before uint64 // the last sequence when this process began
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
		return nil, engine.Unavailable("open the delayed messages", err)
	}
	d.before = stream.CachedInfo().State.LastSeq
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       delayTaker,
		FilterSubject: dueSubject + "*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       takeAckAfter,
		MaxAckPending: -1, // those that a full topic refuses are not in the way of others
	})
	if err != nil {
		return nil, engine.Unavailable("open the delayed messages", err)
	}
	if d.taking, err = consumer.Consume(func(m jetstream.Msg) { d.take(stream, m) }); err != nil {
		return nil, engine.Unavailable("take delayed messages", err)
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
// The errors in the receipts: [*MessageTooLargeError], [*UnavailableError]; that
// of all: [*TopicNotFoundError], [*UnavailableError].
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
		if limit >= 0 && final.Size()-len(final.Subject) > limit { // rather now than when nobody listens any more
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

// creation tells a topic from another of the same name.
func creation(stream jetstream.Stream) string {
	return strconv.FormatInt(stream.CachedInfo().Created.UnixNano(), 10)
}

// wait is the message that waits for the time of draft.
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

// take moves a message that is due to its topic. If the process dies on the way
// the next one takes it again, and looks whether it was moved: the topic may not
// remember its id for so long.
func (d *Delayer) take(stream jetstream.Stream, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), d.topics.opts.CallTimeout)
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
	draft := due(m, meta.Sequence.Stream)
	if meta.NumDelivered > 1 || meta.Sequence.Stream <= d.before {
		draft.At = time.UnixMicro(until) // it may be there, since then
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

// due is the draft that m is, which has that sequence.
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

// produce appends draft to topic if that is still the one created then. Unless its
// time is zero it may have been, since that.
func (d *Delayer) produce(ctx context.Context, topic, created string, draft Draft) error {
	stream, err := d.topics.stream(ctx, topic)
	if err != nil {
		return err
	}
	if creation(stream) != created {
		return &TopicNotFoundError{Topic: topic} // another of the same name
	}
	if !draft.At.IsZero() {
		if moved, err := d.moved(ctx, topic, draft); moved || err != nil {
			return err
		}
	}
	return d.topics.PublishAll(ctx, topic, []Draft{draft})[0].Err
}

// moved reports whether topic has draft already, since its time.
func (d *Delayer) moved(ctx context.Context, topic string, draft Draft) (bool, error) {
	r := Range{Since: draft.At, Key: draft.Key, Max: readAtOnce, MaxBytes: readBytes}
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
