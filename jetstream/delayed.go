package jetstream

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

// Delayed messages wait in a stream of their own, as scheduled messages of the engine.
// In the stream of their topic, readers would have to skip them, and the topic could
// not refuse new messages when it is full: the engine allows no schedules in such a
// stream. At its time, the engine moves a message to a subject of the due messages
// of its topic, and one of the processes moves it from there to the topic itself.
const (
	delayStream  = "dq-delayed"       // not the stream of a topic: those start with engine.TopicPrefix
	waitSubject  = "dq-delayed.wait." // and the encoded topic, and an id (see wait): messages that wait
	dueSubject   = "dq-delayed.due."  // and the same: messages that are due
	markSubject  = "dq-delayed.mark." // and the encoded topic: how far it was when messages were moved to it
	ownerSubject = "dq-delayed.owner" // the process that moves the due messages, if several share the engine
	delaySubject = "dq-delayed.>"     // all of these
	oldTaker     = "taker"            // the durable consumer with which earlier versions took due messages
)

// The headers of a message while it waits. Its own headers get a prefix, so that the
// engine and nats.go do not interpret them.
const (
	delayAfter  = "Dq-Delay-After"  // the last sequence of its topic when it was accepted
	delayTopic  = "Dq-Delay-Topic"  // when the topic was created, in nanoseconds of Unix time
	delayUntil  = "Dq-Delay-Until"  // when it is due, in microseconds of Unix time
	delayKey    = "Dq-Delay-Key"    // its key, encoded
	delayID     = "Dq-Delay-Id"     // its idempotency key, or an id that dq has given it, encoded
	delayTTL    = "Dq-Delay-Ttl"    // its TTL
	delayType   = "Dq-Delay-Type"   // its content type
	delayHeader = "Dq-Delay-Header" // and "-" and a name: its headers
)

// A Delayer stores messages that are to be produced later, and moves those that are
// due to their topics.
type Delayer struct {
	topics *Topics
	log    *slog.Logger
	stop   context.CancelFunc
	opened chan struct{} // closed when the stream is open
	moving sync.WaitGroup
	mover  atomic.Pointer[mover] // nil: another process moves the messages
	keys   sync.Map              // topic to *topicKeys
}

// StartDelayer opens the stream of the delayed messages in the background, and then moves due messages until Stop. It
// does not wait for the stream: after a start with many due messages, the engine does nothing else with the stream for
// a while.
func StartDelayer(topics *Topics, log *slog.Logger) *Delayer {
	d := &Delayer{topics: topics, log: log, opened: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.moving.Go(func() {
		if d.open(ctx) {
			d.run(ctx)
		}
	})
	return d
}

// open opens the stream, trying until ctx ends. It reports whether it is open.
func (d *Delayer) open(ctx context.Context) bool {
	for said := false; ; {
		err := d.tryOpen(ctx)
		if err == nil {
			close(d.opened)
			return true
		}
		if !said && ctx.Err() == nil {
			said = true
			d.log.Warn("the delayed messages cannot be opened yet", "error", err)
		}
		if !sleep(ctx, firstPause) {
			return false
		}
	}
}

func (d *Delayer) tryOpen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.topics.opts.CallTimeout)
	defer cancel()

	stream, err := EnsureStream(ctx, d.topics.js, jetstream.StreamConfig{
		Name:              delayStream,
		Description:       "messages that wait for their time",
		Subjects:          []string{delaySubject},
		Storage:           d.topics.opts.Storage,
		Replicas:          d.topics.opts.Replicas,
		AllowMsgSchedules: true,
		AllowRollup:       true,
		AllowDirect:       true,
	})
	if err != nil {
		return err
	}
	if err := stream.DeleteConsumer(ctx, oldTaker); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	return nil
}

// Stop stops moving due messages, and returns when the moves under way have ended.
func (d *Delayer) Stop() {
	d.stop()
	d.moving.Wait()
}

// run moves due messages until ctx ends. If several processes share the engine, one of
// them moves the messages of all.
func (d *Delayer) run(ctx context.Context) {
	if d.topics.opts.Alone {
		d.move(ctx, func() bool { return true })
		return
	}

	o := newOwner(d.topics)
	for ctx.Err() == nil {
		o.acquire(ctx)
		owned, release := o.keep(ctx)
		d.move(owned, o.valid)
		release()
	}
}

// move moves due messages until ctx ends.
func (d *Delayer) move(ctx context.Context, valid func() bool) {
	m := newMover(d, valid)
	d.mover.Store(m)
	defer d.mover.Store(nil)
	m.run(ctx)
}

// awaitOpen waits until the stream is open. Errors: [*UnavailableError].
func (d *Delayer) awaitOpen(ctx context.Context) error {
	select {
	case <-d.opened:
		return nil
	case <-ctx.Done():
		return engine.Unavailable("open the delayed messages", context.Cause(ctx))
	}
}

// Delay stores drafts, each to be produced to topic at its time. If the topic is
// deleted before, they are dropped. A draft whose key is taken is a duplicate: of one that
// waits, which has no sequence yet, or of one in the topic. Errors: [*TopicNotFoundError],
// [*UnavailableError]; errors in the receipts: [*MessageTooLargeError], [*UnavailableError].
func (d *Delayer) Delay(ctx context.Context, topic string, drafts []Draft) ([]Receipt, error) {
	if err := d.awaitOpen(ctx); err != nil {
		return nil, err
	}
	stream, err := d.topics.stream(ctx, topic)
	if err != nil {
		return nil, err
	}
	limit := int(stream.CachedInfo().Config.MaxMsgSize)
	receipts := d.storedBefore(ctx, topic, drafts)
	var msgs []*nats.Msg
	var places []int // in drafts
	for i := range drafts {
		if receipts[i].Duplicate {
			continue
		}
		final := drafts[i].encode(topic)
		if limit >= 0 && final.Size()-len(final.Subject) > limit { // refuse it while the client still listens
			receipts[i].Err = &MessageTooLargeError{Topic: topic, Limit: limit}
			continue
		}
		msgs, places = append(msgs, drafts[i].wait(topic, stream.CachedInfo())), append(places, i)
	}
	if len(msgs) == 0 {
		return receipts, nil
	}

	sequences := make([]uint64, len(drafts)) // of those that wait
	for j, a := range d.storeWaiting(ctx, topic, msgs) {
		i := places[j]
		receipts[i] = Receipt{Delayed: true}
		if a.err == nil {
			sequences[i] = a.sequence
		} else if _, waits := expectedSequence(a.err); waits {
			receipts[i].Duplicate = true
		} else {
			receipts[i] = Receipt{Err: engine.Unavailable("store a delayed message", a.err)}
		}
	}
	d.refuseStored(ctx, topic, drafts, receipts, sequences)
	for i, r := range receipts {
		if r.Delayed && !r.Duplicate {
			d.soonDue(topic, &drafts[i], sequences[i])
		}
	}
	return receipts, nil
}

// storeWaiting stores messages that wait, and returns the engine's answers.
func (d *Delayer) storeWaiting(ctx context.Context, topic string, msgs []*nats.Msg) []publishAnswer {
	keyed := func(m *nats.Msg) bool { return m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) != "" }
	if slices.ContainsFunc(msgs, keyed) {
		done := d.keysOf(topic).take()
		defer done()
	}
	return d.topics.publisher.publishDecided(ctx, msgs)
}

// soonDue tells the mover about a message that was stored to wait, if it is due soon.
func (d *Delayer) soonDue(topic string, draft *Draft, sequence uint64) {
	m, pause := d.mover.Load(), time.Until(draft.At)
	if m == nil || pause > soon {
		return
	}
	e := dueEntry{sequence: sequence, until: draft.At.UnixMicro(), size: len(draft.Data), waiting: true}
	m.addLater(m.queue(topic), pause, e)
}

// creation returns the time at which a topic was created, which tells it from an
// earlier or later topic of the same name.
func creation(stream jetstream.Stream) string { return creationOf(stream.CachedInfo()) }

func creationOf(info *jetstream.StreamInfo) string {
	return strconv.FormatInt(info.Created.UnixNano(), 10)
}

// wait returns the message that waits for the time of draft, to be moved to a topic. The
// engine refuses it while another message with its key waits or is due.
func (draft *Draft) wait(topic string, info *jetstream.StreamInfo) *nats.Msg {
	created, name := creationOf(info), nuid.Next()
	place, id := EncodeName(topic)+"."+name, draft.ID
	if id == "" {
		id = ReservedIDPrefix + "delayed-" + name
	} else {
		place = keyPlace(topic, created, id) + "." + name
	}

	m := nats.NewMsg(waitSubject + place)
	m.Data = draft.Data
	for name, value := range draft.Headers {
		m.Header.Set(delayHeader+"-"+name, value)
	}
	m.Header.Set(delayTopic, created)
	m.Header.Set(delayAfter, strconv.FormatUint(info.State.LastSeq, 10))
	m.Header.Set(delayUntil, strconv.FormatInt(draft.At.UnixMicro(), 10))
	m.Header.Set(delayKey, EncodeName(draft.Key))
	m.Header.Set(delayID, EncodeName(id))
	m.Header.Set(delayTTL, draft.TTL.String())
	m.Header.Set(delayType, draft.ContentType)

	m.Header.Set(jetstream.ScheduleHeader, "@at "+draft.At.UTC().Format(time.RFC3339))
	m.Header.Set(jetstream.ScheduleTargetHeader, dueSubject+place)
	if draft.ID != "" {
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
		m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, keySubjects(topic, created, draft.ID))
	}
	return m
}

// due returns the draft from which a due message with these headers was made.
func due(header nats.Header, data []byte, sequence uint64) Draft {
	draft := Draft{ContentType: header.Get(delayType), Data: data}
	draft.Key, _ = DecodeName(header.Get(delayKey))
	draft.ID, _ = DecodeName(header.Get(delayID))
	draft.TTL, _ = time.ParseDuration(header.Get(delayTTL))
	if draft.ID == "" { // an earlier version stored it
		draft.ID = ReservedIDPrefix + "delayed-" + strconv.FormatUint(sequence, 10)
	}
	for name, values := range header {
		if name, found := strings.CutPrefix(name, delayHeader+"-"); found {
			if draft.Headers == nil {
				draft.Headers = make(map[string]string)
			}
			draft.Headers[name] = values[0]
		}
	}
	return draft
}
