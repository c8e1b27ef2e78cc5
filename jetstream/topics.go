package jetstream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

// instanceKey is the metadata entry that makes the streams of any two creations
// differ. The engine answers a second equal creation with success, and refuses a
// different one.
const instanceKey = "dq-instance"

// rememberedTopics is the number of topics whose storage a process remembers.
const rememberedTopics = 16 << 10

// Topics reads and writes the topics of one NATS account. All methods are safe for
// concurrent use and return when the deadline of their context has passed.
type Topics struct {
	nc         *nats.Conn
	connection *connection // nc
	js         jetstream.JetStream
	publisher  *publisher
	reader     *reader
	opts       StoreOptions
	batchers   sync.Map                 // topic to *batcher[*nats.Msg]
	memory     *lru.Cache[string, bool] // whether a topic is stored in memory
	purged     sync.Map                 // topic to *atomic.Uint64, see purges
	locks      locks
	forget     func(ctx context.Context, topic string) error // see OnGone
	watches    watches
	starts     pieceStarts
}

// NewTopics returns the topics of the account that nc is connected to.
// Errors: [*UnavailableError].
func NewTopics(nc *nats.Conn, opts StoreOptions) (*Topics, error) {
	opts.CallTimeout = cmp.Or(opts.CallTimeout, 5*time.Second)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))

	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := newPublisher(nc, !opts.Alone)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(cmp.Or(opts.Reads, nc))
	if err != nil {
		return nil, err
	}
	memory, err := lru.New[string, bool](rememberedTopics)
	if err != nil {
		return nil, err
	}

	t := &Topics{
		nc:         nc,
		connection: watchConnection(nc),
		js:         js,
		publisher:  publisher,
		reader:     reader,
		opts:       opts,
		memory:     memory,
		locks:      newLocks(),
		forget:     func(context.Context, string) error { return nil },
	}
	publisher.awaitStream = t.awaitStream
	return t, nil
}

// OnGone sets the function that removes what others keep for a topic that does not exist,
// such as its consumers. It is called after a topic was deleted and before one is created,
// so that a topic never finds what an earlier one of its name has left. Call OnGone before
// any topic is created or deleted.
func (t *Topics) OnGone(forget func(ctx context.Context, topic string) error) { t.forget = forget }

// A Topic describes one topic.
type Topic struct {
	Name          string
	Created       time.Time
	Settings      Settings
	Messages      uint64
	Bytes         uint64       // as stored: data, headers, and what the engine adds
	FirstSequence uint64       // of the oldest message; one more than LastSequence if there is none
	FirstTime     time.Time    // of the oldest message
	LastSequence  uint64       // of the newest message ever stored, 0 if there was none
	LastTime      time.Time    // of the newest message ever stored
	Damage        []FileDamage // of a topic that is not served; nothing but its name is known then
}

// Create creates a topic. Of any number of concurrent calls with the same
// name, exactly one succeeds. Errors: [*NameError], [*TopicDamagedError], [*SettingError],
// [*ExistsError],
// [*StorageFullError], [*BusyError], [*UnavailableError].
func (t *Topics) Create(ctx context.Context, topic string, settings Settings) error {
	if err := CheckName(topic); err != nil {
		return err
	}
	if err := settings.check(); err != nil {
		return err
	}
	if damaged := t.damaged(topic); damaged != nil {
		return damaged
	}
	if err := t.opts.checkSpace(); err != nil {
		return err
	}

	// Most calls are for a topic that exists, and need no lock.
	if err := t.refuseExisting(ctx, topic); err != nil {
		return err
	}
	return t.alter(ctx, topic, func(ctx context.Context, lock *topicLock) error {
		if err := t.refuseExisting(ctx, topic); err != nil {
			return err
		}
		if err := t.forget(ctx, topic); err != nil {
			return err
		}
		return t.create(ctx, lock, topic, settings)
	})
}

// refuseExisting returns an [*ExistsError] if topic exists. Other errors:
// [*UnavailableError].
func (t *Topics) refuseExisting(ctx context.Context, topic string) error {
	_, err := t.stream(ctx, topic)
	var missing *TopicNotFoundError
	switch {
	case err == nil:
		return &ExistsError{Topic: topic}
	case errors.As(err, &missing):
		return nil
	}
	return err
}

// create creates the stream of topic. The caller holds the lock.
func (t *Topics) create(ctx context.Context, lock *topicLock, topic string, settings Settings) error {
	cfg := jetstream.StreamConfig{
		Name:               StreamName(topic),
		Subjects:           []string{Subjects(topic)},
		AllowDirect:        true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{instanceKey: nuid.Next()},
	}
	settings.apply(&cfg)

	for {
		// The engine answers a second creation of the same stream with success.
		stream, err := repeat(ctx, t, func(ctx context.Context) (jetstream.Stream, error) {
			if err := lock.check(); err != nil {
				return nil, err
			}
			return t.js.CreateStream(ctx, cfg)
		})
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // a native client was faster
			return &ExistsError{Topic: topic}
		case err != nil:
			return settingsError("create the topic", settings, err)
		}

		// While the engine is still removing the files of a deleted stream of that
		// name, a new one may start with messages of the old one. RemoveDeletedFiles
		// prevents that; without it, delete the stream and try again.
		info := stream.CachedInfo()
		if info.State.LastSeq == 0 || !info.State.LastTime.Before(info.Created) {
			return nil
		}
		if err := t.deleteStream(ctx, lock, cfg.Name); err != nil && !isMissing(err) {
			return engine.Unavailable("create the topic", err)
		}
		cfg.Metadata[instanceKey] = nuid.Next()
	}
}

// update changes the configuration of a stream. At a change of the dedup window the engine
// forgets keys by the window that it had before, so a window that differs a little comes first. The caller
// holds the lock.
func (t *Topics) update(
	ctx context.Context, lock *topicLock, cfg jetstream.StreamConfig, window time.Duration,
) error {
	if cfg.Duplicates < window {
		step := cfg
		step.Duplicates++
		if step.MaxAge > 0 {
			step.MaxAge++ // the window may not be longer
		}
		if err := t.replaceConfig(ctx, lock, step); err != nil {
			return err
		}
	}
	return t.replaceConfig(ctx, lock, cfg)
}

// replaceConfig gives a stream a configuration. The caller holds the lock.
func (t *Topics) replaceConfig(ctx context.Context, lock *topicLock, cfg jetstream.StreamConfig) error {
	_, err := repeat(ctx, t, func(ctx context.Context) (jetstream.Stream, error) {
		if err := lock.check(); err != nil {
			return nil, err
		}
		stream, err := t.js.UpdateStream(ctx, cfg)
		return stream, t.doubt(ctx, cfg.Name, err)
	})
	return err
}

// Change replaces the settings of topic by what change makes of them; the storage cannot
// be changed. Changes that run at the same time are made one after the other. Errors: those
// of change, [*TopicNotFoundError], [*SettingError], [*BusyError], [*UnavailableError].
func (t *Topics) Change(ctx context.Context, topic string, change func(Settings) (Settings, error)) error {
	return t.alter(ctx, topic, func(ctx context.Context, lock *topicLock) error {
		stream, err := t.stream(ctx, topic)
		if err != nil {
			return err
		}
		cfg := stream.CachedInfo().Config
		was := settingsOf(cfg)
		settings, err := change(was)
		if err != nil {
			return err
		}
		if err := settings.check(); err != nil {
			return err
		}
		if was.Storage != settings.Storage {
			want := was.Storage + ", as it cannot be changed"
			return &SettingError{Setting: "storage", Value: settings.Storage, Want: want}
		}

		settings.apply(&cfg)
		if err := t.update(ctx, lock, cfg, stream.CachedInfo().Config.Duplicates); err != nil {
			return settingsError("change the topic", settings, err)
		}
		t.purges(topic).Add(1) // limits may have removed what was read ahead
		return nil
	})
}

// Describe returns the settings and the current size of topic.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Describe(ctx context.Context, topic string) (Topic, error) {
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return Topic{}, err
	}
	return describe(topic, stream.CachedInfo()), nil
}

func describe(topic string, info *jetstream.StreamInfo) Topic {
	return Topic{
		Name:          topic,
		Created:       info.Created,
		Settings:      settingsOf(info.Config),
		Messages:      info.State.Msgs,
		Bytes:         info.State.Bytes,
		FirstSequence: info.State.FirstSeq,
		FirstTime:     info.State.FirstTime,
		LastSequence:  info.State.LastSeq,
		LastTime:      info.State.LastTime,
	}
}

// LastSequence returns the sequence of the newest message that topic ever stored, 0
// if there was none. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) LastSequence(ctx context.Context, topic string) (uint64, error) {
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// missing returns the error for a topic whose stream the engine does not have.
func (t *Topics) missing(topic string) error {
	if damaged := t.damaged(topic); damaged != nil {
		return damaged
	}
	return &TopicNotFoundError{Topic: topic}
}

// damaged returns a [*TopicDamagedError], or nil if topic is not damaged.
func (t *Topics) damaged(topic string) error {
	if t.opts.Damaged == nil {
		return nil
	}
	if damage := t.opts.Damaged(StreamName(topic)); damage != nil {
		return &TopicDamagedError{Topic: topic, Damage: damage}
	}
	return nil
}

// Damaged returns the topics that are damaged and not served.
func (t *Topics) Damaged() (topics []*TopicDamagedError) {
	if t.opts.AllDamaged == nil {
		return nil
	}
	for _, damage := range t.opts.AllDamaged() {
		if topic, ok := topicOf(damage.Stream); ok {
			topics = append(topics, &TopicDamagedError{Topic: topic, Damage: damage})
		}
	}
	return topics
}

// stream looks up the stream of topic. Errors: [*TopicNotFoundError],
// [*TopicDamagedError], [*UnavailableError].
func (t *Topics) stream(ctx context.Context, topic string) (jetstream.Stream, error) {
	// The engine's answer to an invalid name is undefined.
	if CheckName(topic) != nil {
		return nil, &TopicNotFoundError{Topic: topic}
	}
	stream, err := t.lookUp(ctx, StreamName(topic))
	switch {
	case isMissing(err):
		return nil, t.missing(topic)
	case err != nil:
		return nil, engine.Unavailable("look up the topic", err)
	}
	return stream, nil
}

// noResponders returns the error for a request that no stream of topic answered: the
// topic does not exist, or the engine is starting or stopping.
func (t *Topics) noResponders(ctx context.Context, topic string) error {
	if _, err := t.stream(ctx, topic); err != nil {
		return err
	}
	return engine.Unavailable("reach the topic", nats.ErrNoResponders)
}
