package jetstream

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

// instanceKey is the metadata entry that makes the stream of each creation
// differ from that of any other. Without it the engine would answer the second
// of two equal creations as if it had done something.
const instanceKey = "dq-instance"

// rememberedTopics is how many topics a process remembers the storage of.
const rememberedTopics = 16 << 10

// Topics are the topics of one NATS account. All methods are safe for
// concurrent use and return an error within the deadline of their context.
type Topics struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	publisher *publisher
	reader    *reader
	opts      StoreOptions
	lanes     sync.Map                 // topic to *lane
	memory    *lru.Cache[string, bool] // whether a topic is kept there
	purged    sync.Map                 // topic to *atomic.Uint64: how often it was
	deleting  *semaphore.Weighted      // for who deletes a stream
	watches   watches
}

// NewTopics returns the topics that nc reaches.
func NewTopics(nc *nats.Conn, opts StoreOptions) (*Topics, error) {
	opts.CallTimeout = cmp.Or(opts.CallTimeout, 5*time.Second)
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	publisher, err := newPublisher(nc)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(nc)
	if err != nil {
		return nil, err
	}
	memory, err := lru.New[string, bool](rememberedTopics)
	if err != nil {
		return nil, err
	}
	return &Topics{nc: nc, js: js, publisher: publisher, reader: reader, opts: opts, memory: memory, deleting: semaphore.NewWeighted(1)}, nil
}

// A Topic is what there is to know of one topic.
type Topic struct {
	Name          string
	Created       time.Time
	Settings      Settings
	Messages      uint64
	Bytes         uint64
	FirstSequence uint64 // of the oldest message; one more than LastSequence if there is none
	FirstTime     time.Time
	LastSequence  uint64 // of the newest message ever stored, 0 if there was none
	LastTime      time.Time
}

// Create makes a topic. Of any number of concurrent calls with one name exactly
// one succeeds. Errors: [*NameError], [*SettingError], [*ExistsError],
// [*UnavailableError].
func (t *Topics) Create(ctx context.Context, topic string, settings Settings) error {
	if err := CheckName(topic); err != nil {
		return err
	}
	if err := settings.check(); err != nil {
		return err
	}
	if err := t.opts.checkSpace(); err != nil {
		return err
	}
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
		stream, err := t.js.CreateStream(ctx, cfg)
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			return &ExistsError{Topic: topic}
		case err != nil:
			return settingsError("create the topic", settings, err)
		}
		// An engine that is still removing one of that name has given it messages of
		// another, unless RemoveDeletedFiles saw to that.
		info := stream.CachedInfo()
		if info.State.LastSeq == 0 || !info.State.LastTime.Before(info.Created) {
			return nil
		}
		if err := t.deleteStream(ctx, cfg.Name); err != nil && !missing(err) {
			return engine.Unavailable("create the topic", err)
		}
		cfg.Metadata[instanceKey] = nuid.Next()
	}
}

// Change gives topic other settings. Errors: [*TopicNotFoundError],
// [*SettingError], [*UnavailableError].
func (t *Topics) Change(ctx context.Context, topic string, settings Settings) error {
	if err := settings.check(); err != nil {
		return err
	}
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return err
	}
	cfg := stream.CachedInfo().Config
	if now := settingsOf(cfg).Storage; now != settings.Storage {
		return &SettingError{Setting: "storage", Value: settings.Storage, Want: now + ", as it cannot be changed"}
	}
	settings.apply(&cfg)
	if _, err := t.js.UpdateStream(ctx, cfg); err != nil {
		return settingsError("change the topic", settings, err)
	}
	return nil
}

// Delete removes topic and all its messages. Errors: [*TopicNotFoundError],
// [*UnavailableError].
func (t *Topics) Delete(ctx context.Context, topic string) error {
	if CheckName(topic) != nil {
		return &TopicNotFoundError{Topic: topic}
	}
	err := t.deleteStream(ctx, StreamName(topic))
	switch {
	case missing(err):
		return &TopicNotFoundError{Topic: topic}
	case err != nil:
		return engine.Unavailable("delete the topic", err)
	}
	t.purges(topic).Add(1)
	t.lanes.Delete(topic)
	t.memory.Remove(topic)
	return nil
}

// deleteStream deletes one stream after the other, so that none is swept too early.
func (t *Topics) deleteStream(ctx context.Context, stream string) error {
	if t.opts.RemoveDeletedFiles != nil {
		if err := t.deleting.Acquire(ctx, 1); err != nil {
			return err
		}
		defer t.deleting.Release(1)
		if err := t.opts.RemoveDeletedFiles(stream); err != nil {
			return err
		}
	}
	return t.js.DeleteStream(ctx, stream)
}

// Purge removes the messages of topic up to the sequence upTo, that one
// included, or all if it is 0. It returns how many were removed.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Purge(ctx context.Context, topic string, upTo uint64) (uint64, error) {
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	before := stream.CachedInfo().State.Msgs
	// The engine would go on behind upTo if that is further than the last.
	upTo = min(upTo, stream.CachedInfo().State.LastSeq)
	defer t.purges(topic).Add(1)
	var opts []jetstream.StreamPurgeOpt
	if upTo > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(upTo+1))
	}
	if err := stream.Purge(ctx, opts...); err != nil {
		return 0, engine.Unavailable("purge the topic", err)
	}
	if upTo == 0 {
		return before, nil
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, engine.Unavailable("look up the topic", err)
	}
	return before - min(before, info.State.Msgs), nil
}

// purges counts how often this process purged or deleted topic.
func (t *Topics) purges(topic string) *atomic.Uint64 {
	if n, ok := t.purged.Load(topic); ok {
		return n.(*atomic.Uint64)
	}
	n, _ := t.purged.LoadOrStore(topic, new(atomic.Uint64))
	return n.(*atomic.Uint64)
}

// Describe returns what there is to know of topic. Errors: [*TopicNotFoundError],
// [*UnavailableError].
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

// List returns all topics in the order of their creation.
// Errors: [*UnavailableError].
func (t *Topics) List(ctx context.Context) ([]Topic, error) {
	var topics []Topic
	list := t.js.ListStreams(ctx, jetstream.WithStreamListSubject(subjectPrefix+">"))
	for info := range list.Info() {
		if name, ok := topicOf(info.Config.Name); ok {
			topics = append(topics, describe(name, info))
		}
	}
	if err := list.Err(); err != nil {
		return nil, engine.Unavailable("list the topics", err)
	}
	slices.SortFunc(topics, func(a, b Topic) int { return a.Created.Compare(b.Created) })
	return topics, nil
}

// topicOf is the topic that a stream holds, if it holds one.
func topicOf(stream string) (topic string, ok bool) {
	if len(stream) <= len(engine.TopicPrefix) || stream[:len(engine.TopicPrefix)] != engine.TopicPrefix {
		return "", false
	}
	return DecodeName(stream[len(engine.TopicPrefix):])
}

// LastSequence is the sequence of the last message that topic accepted, 0 if it
// never had one. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) LastSequence(ctx context.Context, topic string) (uint64, error) {
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// stream looks the stream of topic up. Errors: [*TopicNotFoundError],
// [*UnavailableError].
func (t *Topics) stream(ctx context.Context, topic string) (jetstream.Stream, error) {
	// A name that no topic can have may be one that the engine refuses.
	if CheckName(topic) != nil {
		return nil, &TopicNotFoundError{Topic: topic}
	}
	stream, err := t.js.Stream(ctx, StreamName(topic))
	switch {
	case missing(err):
		return nil, &TopicNotFoundError{Topic: topic}
	case err != nil:
		return nil, engine.Unavailable("look up the topic", err)
	}
	return stream, nil
}

// nobody is what it means that nobody answers for topic: it is not there, or the
// engine is not, as while it starts and stops.
func (t *Topics) nobody(ctx context.Context, topic string) error {
	if _, err := t.stream(ctx, topic); err != nil {
		return err
	}
	return engine.Unavailable("reach the topic", nats.ErrNoResponders)
}
