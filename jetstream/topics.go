package jetstream

import (
	"context"
	"errors"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Storage is where topics, positions and ids are kept.
type Storage = jetstream.StorageType

const (
	File   Storage = jetstream.FileStorage
	Memory Storage = jetstream.MemoryStorage
)

// instanceKey is the metadata entry that makes the stream of each creation
// differ from that of any other. Without it the engine would answer the second
// of two equal creations as if it had done something.
const instanceKey = "dq-instance"

// maxPending is how many publishes may wait for their confirmation at once.
const maxPending = 64 << 10

// Topics are the topics of one NATS account. All methods are safe for
// concurrent use and return an error within the deadline of their context.
type Topics struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	storage Storage
}

// NewTopics returns the topics that nc reaches. New topics use storage.
func NewTopics(nc *nats.Conn, storage Storage) (*Topics, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxPending))
	if err != nil {
		return nil, err
	}
	return &Topics{nc: nc, js: js, storage: storage}, nil
}

// Create makes a topic. Of any number of concurrent calls with one name exactly
// one succeeds. Errors: [*NameError], [*ExistsError], [*UnavailableError].
func (t *Topics) Create(ctx context.Context, topic string) error {
	if err := CheckName(topic); err != nil {
		return err
	}
	subject := Subject(topic)
	_, err := t.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:        StreamName(topic),
		Subjects:    []string{subject, subject + ".*"},
		Storage:     t.storage,
		AllowDirect: true,
		Metadata:    map[string]string{instanceKey: nuid.Next()},
	})
	switch {
	case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
		return &ExistsError{Topic: topic}
	case err != nil:
		return unavailable("create the topic", err)
	}
	return nil
}

// Names are the names of all topics in the order of their creation.
func (t *Topics) Names(ctx context.Context) ([]string, error) {
	var infos []*jetstream.StreamInfo
	list := t.js.ListStreams(ctx, jetstream.WithStreamListSubject(subjectPrefix+">"))
	for info := range list.Info() {
		infos = append(infos, info)
	}
	if err := list.Err(); err != nil {
		return nil, unavailable("list the topics", err)
	}
	slices.SortFunc(infos, func(a, b *jetstream.StreamInfo) int { return a.Created.Compare(b.Created) })
	var names []string
	for _, info := range infos {
		if name, ok := topicOf(info.Config.Name); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// topicOf is the topic that a stream holds, if it holds one.
func topicOf(stream string) (topic string, ok bool) {
	if len(stream) <= len(streamPrefix) || stream[:len(streamPrefix)] != streamPrefix {
		return "", false
	}
	return DecodeName(stream[len(streamPrefix):])
}

// LastSequence is the sequence of the last message that topic accepted, 0 if it
// never had one. Errors: [*NotFoundError], [*UnavailableError].
func (t *Topics) LastSequence(ctx context.Context, topic string) (uint64, error) {
	// A name that no topic can have may be one that the engine refuses.
	if CheckName(topic) != nil {
		return 0, &NotFoundError{Topic: topic}
	}
	stream, err := t.js.Stream(ctx, StreamName(topic))
	switch {
	case missing(err):
		return 0, &NotFoundError{Topic: topic}
	case err != nil:
		return 0, unavailable("look up the topic", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// Publish appends data to topic and returns its sequence once the engine has
// stored it. Errors: [*NotFoundError], [*UnavailableError].
func (t *Topics) Publish(ctx context.Context, topic string, data []byte) (uint64, error) {
	ack, err := t.js.PublishMsgAsync(&nats.Msg{Subject: Subject(topic), Data: data})
	if err != nil {
		return 0, unavailable("publish", err)
	}
	select {
	case ok := <-ack.Ok():
		return ok.Sequence, nil
	case err = <-ack.Err():
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if missing(err) {
		return 0, &NotFoundError{Topic: topic}
	}
	return 0, unavailable("publish", err)
}
