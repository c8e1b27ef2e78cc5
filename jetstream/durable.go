package jetstream

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// maxDurableName is the most bytes that the name of a durable consumer may have. It
	// is the engine's limit.
	maxDurableName = 255

	// idPrefix starts the name of the durable of a consumer without a name.
	idPrefix = "id-"

	// idKey is the metadata entry with the id of the consumer to which a durable belongs. A durable without it was made
	// by a NATS client.
	idKey = "dq-consumer"

	// maxWaiting is how many pulls of a durable may wait, of all processes together. It
	// cannot be changed later.
	maxWaiting = 100_000

	// unlimitedConsumers is the limit of a stream's consumers, where the engine has one.
	unlimitedConsumers = 1 << 30
)

// notMade is the end of the pause of a durable that does not stand at its start yet.
var notMade = time.Date(2200, time.January, 1, 0, 0, 0, 0, time.UTC)

// A durable is what this process knows of a consumer in mode lease, which is a durable consumer of the engine.
type durable struct {
	stream, name string

	full func(context.Context) bool // whether as many messages are in flight as may be

	now     batcher[*takeCall] // calls that take what is there
	waiting waiters            // calls that wait for a message

	caughtUp        atomic.Uint64                   // the start of the engine for which catchUp was done
	acked           atomic.Bool                     // acknowledgements were sent that nobody has confirmed
	deadDropped     atomic.Uint64                   // messages that were dropped for lack of a dead-letter topic
	deadLetterWaits atomic.Pointer[DeadLetterError] // the latest that could not be moved; nil if all could
}

// durables are those that this process has used.
type durables struct {
	pulls *pulls
	acks  *ackJournal // nil if the engine is another process
	known sync.Map    // int64: *durable, by the ids of consumers

	process int64 // when this process opened them, in milliseconds of Unix time; it is part of tokens
}

// openDurables opens what consumers in mode lease need. Errors: [*UnavailableError].
func openDurables(ctx context.Context, topics *Topics) (d *durables, err error) {
	d = &durables{pulls: newPulls(topics.reader), process: time.Now().UnixMilli()}
	if topics.opts.Flush != nil {
		d.acks, err = openAckJournal(ctx, topics)
	}
	return d, err
}

// durableName returns the name of the durable of c: the encoded name of c, so that users
// of NATS tools find it, or its id.
func durableName(c Consumer) string {
	if name := EncodeName(c.Name); name != "" && len(name) <= maxDurableName {
		if strings.HasPrefix(name, idPrefix) {
			name = string(escape) + "69" + name[1:] // which no id is encoded as
		}
		return name
	}
	return idPrefix + strconv.FormatInt(c.ID, 10)
}

// durable returns what this process knows of the durable of consumer.
func (c *Consumers) durable(consumer Consumer) *durable {
	if d, ok := c.durables.known.Load(consumer.ID); ok {
		return d.(*durable)
	}
	d := &durable{stream: StreamName(consumer.Topic), name: durableName(consumer)}
	d.full = func(ctx context.Context) bool {
		info, err := c.info(ctx, consumer)
		return err != nil || info.NumAckPending >= info.Config.MaxAckPending
	}
	d.waiting.pull = func(ctx context.Context) (*pull, error) { return c.durables.pulls.wait(ctx, d) }
	d.waiting.giveBack = func(m *nats.Msg) { giveBack(c.topics.nc, m) }
	d.now = batcher[*takeCall]{
		timeout: c.topics.opts.CallTimeout, maxBatches: 1,
		publish: func(ctx context.Context, calls ...*takeCall) []publishAnswer {
			return c.durables.pulls.takeForAll(ctx, d, calls)
		},
	}
	known, _ := c.durables.known.LoadOrStore(consumer.ID, d)
	return known.(*durable)
}

// durableConfig returns the configuration of the durable of c.
func durableConfig(c Consumer) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       durableName(c),
		AckPolicy:     jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverAllPolicy, // one with another policy could not be moved back
		AckWait:       c.Lease,
		MaxAckPending: c.MaxInFlight,
		MaxDeliver:    -1, // the engine would drop messages; see deadletter.go
		MaxWaiting:    maxWaiting,
		Metadata:      map[string]string{idKey: strconv.FormatInt(c.ID, 10)},
	}
	if c.Key != "" {
		cfg.FilterSubjects = []string{Subject(c.Topic, c.Key)}
	}
	return cfg
}

// Make gives a consumer in mode lease its durable, or moves the one that it has: the
// next message is the first one after consumer.Start, and no lease exists. The caller
// stores in the registration that this is done: until then a process that was killed
// may have left it half done, and Make must be called again. Calls for one consumer
// take turns.
// Errors: [*TopicNotFoundError], [*ForeignConsumerError], [*UnavailableError].
func (c *Consumers) Make(ctx context.Context, consumer Consumer) error {
	old, err := c.cursors.leases(ctx, consumer)
	if err != nil {
		return err
	}
	start := consumer.Start
	if old != nil {
		last, err := c.topics.LastSequence(ctx, consumer.Topic)
		if err != nil {
			return err
		}
		old.rewind(last)
		start = old.start()
	}

	if err := c.create(ctx, consumer); err != nil {
		return err
	}
	if c.durables.acks != nil { // earlier acknowledgements no longer count
		c.durables.acks.set(consumer.ID, consumer.Generation)
	}

	stream, name := StreamName(consumer.Topic), durableName(consumer)
	if _, err := c.topics.js.ResetConsumerToSequence(ctx, stream, name, start+1); err != nil {
		return c.durableError(ctx, consumer, "move the consumer", err)
	}
	if err := c.endPause(ctx, consumer, notMade); err != nil {
		return err
	}
	if old != nil {
		return c.restore(ctx, consumer, old)
	}
	return nil
}

// create creates the durable of consumer, paused, unless it exists. A durable that
// belongs to a consumer which had the name before is deleted.
func (c *Consumers) create(ctx context.Context, consumer Consumer) error {
	stream, cfg := StreamName(consumer.Topic), durableConfig(consumer)
	cfg.PauseUntil = &notMade
	for {
		existing, err := c.topics.js.Consumer(ctx, stream, cfg.Durable)
		switch {
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			_, err = c.topics.js.CreateConsumer(ctx, stream, cfg)
			switch {
			case err == nil:
				return nil
			case errors.Is(err, jetstream.ErrConsumerExists): // another process was faster
				continue
			case isCode(err, codeMaxConsumers):
				if err := c.allowMoreConsumers(ctx, consumer.Topic); err != nil {
					return err
				}
				continue
			}
			return c.durableError(ctx, consumer, "create the consumer", err)
		case err != nil:
			return c.durableError(ctx, consumer, "look up the consumer", err)
		}

		switch owner := existing.CachedInfo().Config.Metadata[idKey]; owner {
		case cfg.Metadata[idKey]:
			return nil
		case "":
			return &ForeignConsumerError{Topic: consumer.Topic, Consumer: cfg.Durable}
		}
		err = c.topics.js.DeleteConsumer(ctx, stream, cfg.Durable)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return c.durableError(ctx, consumer, "delete an earlier consumer of that name", err)
		}
	}
}

// allowMoreConsumers lifts the limit of a topic's consumers: the engine's default is
// 1,000 unless the stream has its own.
func (c *Consumers) allowMoreConsumers(ctx context.Context, topic string) error {
	stream, err := c.topics.stream(ctx, topic)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	if cfg.MaxConsumers == unlimitedConsumers {
		return engine.Unavailable("create the consumer", errors.New("the NATS account allows no more consumers"))
	}
	cfg.MaxConsumers = unlimitedConsumers
	if _, err := c.topics.js.UpdateStream(ctx, cfg); err != nil {
		return engine.Unavailable("create the consumer", err)
	}
	return nil
}

// Change gives the durable of a consumer in mode lease the lease and the limit of consumer.
// Errors: [*TopicNotFoundError], [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) Change(ctx context.Context, consumer Consumer) error {
	info, err := c.info(ctx, consumer)
	if err != nil {
		return err
	}
	cfg := info.Config // with the pause
	cfg.AckWait, cfg.MaxAckPending = consumer.Lease, consumer.MaxInFlight
	if _, err := c.topics.js.UpdateConsumer(ctx, StreamName(consumer.Topic), cfg); err != nil {
		return c.durableError(ctx, consumer, "change the consumer", err)
	}
	return nil
}

// endPause ends the pause of a durable if that is to end at the time until.
func (c *Consumers) endPause(ctx context.Context, consumer Consumer, until time.Time) error {
	info, err := c.info(ctx, consumer)
	if err != nil {
		return err
	}
	if pause := info.Config.PauseUntil; pause == nil || !pause.Equal(until) {
		return nil
	}
	return c.pauseDurable(ctx, consumer, time.Time{})
}

// info asks the engine for the durable of consumer. Errors: [*TopicNotFoundError],
// [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) info(ctx context.Context, consumer Consumer) (*jetstream.ConsumerInfo, error) {
	found, err := repeat(ctx, c.topics, func(ctx context.Context) (jetstream.Consumer, error) {
		return c.topics.js.Consumer(ctx, StreamName(consumer.Topic), durableName(consumer))
	})
	if err != nil {
		return nil, c.durableError(ctx, consumer, "look up the consumer", err)
	}
	return found.CachedInfo(), nil
}

// durableError returns the error of a request to the engine about the durable of
// consumer that failed with err.
func (c *Consumers) durableError(ctx context.Context, consumer Consumer, operation string, err error) error {
	switch {
	case isMissing(err):
		return &TopicNotFoundError{Topic: consumer.Topic}
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return &ConsumerNotFoundError{Consumer: consumer.Label(), Deleted: true, Topic: consumer.Topic}
	case isNoResponders(err):
		if _, err := c.info(ctx, consumer); err != nil {
			return err
		}
	}
	return engine.Unavailable(operation, err)
}

// durableState returns the progress of a consumer in mode lease.
func (c *Consumers) durableState(ctx context.Context, consumer Consumer) (State, error) {
	d := c.durable(consumer)
	if err := c.catchUp(ctx, consumer, d); err != nil {
		return State{}, err
	}
	if d.acked.Swap(false) { // what was acknowledged before counts
		if err := c.answered(ctx, consumer); err != nil {
			d.acked.Store(true)
			return State{}, err
		}
	}
	info, err := c.info(ctx, consumer)
	if err != nil {
		return State{}, err
	}

	state := State{Position: info.Delivered.Stream, Lag: info.NumPending, InFlight: uint64(info.NumAckPending)}
	if info.Config.PauseUntil != nil && time.Now().Before(*info.Config.PauseUntil) {
		state.PausedUntil = *info.Config.PauseUntil
	}
	if c.durables.acks != nil { // after kill -9 the engine may have forgotten that it delivered them
		done := c.durables.acks.set(consumer.ID, consumer.Generation).between(state.Position+1, maxSequence)
		state.Lag -= min(state.Lag, uint64(len(done)))
	}
	state.DeadLetter, state.DeadDropped = d.deadLetterWaits.Load(), d.deadDropped.Load()
	return state, nil
}

// pauseDurable pauses a durable; the zero time ends its pause.
func (c *Consumers) pauseDurable(ctx context.Context, consumer Consumer, until time.Time) (err error) {
	stream, name := StreamName(consumer.Topic), durableName(consumer)
	if until.IsZero() {
		_, err = c.topics.js.ResumeConsumer(ctx, stream, name)
	} else {
		_, err = c.topics.js.PauseConsumer(ctx, stream, name, until)
	}
	if err != nil {
		return c.durableError(ctx, consumer, "pause the consumer", err)
	}
	return nil
}

// removeDurable deletes the durable of consumer, if it exists and belongs to it.
func (c *Consumers) removeDurable(ctx context.Context, consumer Consumer) error {
	info, err := c.info(ctx, consumer)
	if err == nil && info.Config.Metadata[idKey] == strconv.FormatInt(consumer.ID, 10) {
		_, err = repeat(ctx, c.topics, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, c.topics.js.DeleteConsumer(ctx, StreamName(consumer.Topic), durableName(consumer))
		})
		if err != nil {
			err = c.durableError(ctx, consumer, "delete the consumer", err)
		}
	}

	var noConsumer *ConsumerNotFoundError
	var noTopic *TopicNotFoundError
	if err != nil && !errors.As(err, &noConsumer) && !errors.As(err, &noTopic) {
		return err
	}
	c.durables.known.Delete(consumer.ID)
	if c.durables.acks != nil {
		c.durables.acks.drop(consumer.ID)
	}
	return nil
}
