package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// maxOneByOne is how many single messages are asked for at once.
	maxOneByOne = 256

	// maxReadBytes is how many bytes one read brings, and up to one message more.
	maxReadBytes = 1 << 20
)

// A Range says which messages to read.
type Range struct {
	From     uint64     // the first sequence; 0 is the oldest message
	Since    time.Time  // if set, the first message of that time or later, in place of From
	Key      string     // only messages with that key; "" is all
	Max      int        // messages, at least 1
	MaxBytes int        // the read ends after the message that reaches them; at least 1
	Memory   ReadMemory // ReadWait asks it before it reads; nil is no bound
}

// Read returns the messages of topic in r, in order. It may return only some of them,
// but at least one if the topic has any in r; otherwise it returns none and no error.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Read(ctx context.Context, topic string, r Range) ([]Message, error) {
	r.MaxBytes = min(r.MaxBytes, maxReadBytes)
	msgs, broken, err := t.readGood(ctx, topic, r)
	if err != nil || len(msgs) > 0 {
		return msgs, err
	}

	// In a cluster, the server that has answered may be behind.
	if broken || t.nc.ConnectedClusterName() != "" {
		return t.readFromLeader(ctx, topic, r, broken)
	}
	return nil, nil
}

// ReadWait works like [Topics.Read], but waits for a message until ctx ends. The end of
// ctx is not an error.
func (t *Topics) ReadWait(ctx context.Context, topic string, r Range) ([]Message, error) {
	room := room{memory: r.Memory, messages: r.Max, bytes: min(r.MaxBytes, maxReadBytes)}
	return waitFor(ctx, t, topic, room, func(ctx context.Context) ([]Message, time.Time, error) {
		msgs, err := t.Read(ctx, topic, r)
		return msgs, time.Time{}, err
	})
}

// Get returns the message of topic at sequence. Errors: [*TopicNotFoundError],
// [*NoMessageError], [*UnavailableError].
func (t *Topics) Get(ctx context.Context, topic string, sequence uint64) (Message, error) {
	msgs, err := t.Read(ctx, topic, Range{From: sequence, Max: 1, MaxBytes: 1})
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 || msgs[0].Sequence != sequence {
		return Message{}, &NoMessageError{Topic: topic, Sequence: sequence}
	}
	return msgs[0], nil
}

// Expect returns how many bytes of data a read of at most so many messages and bytes of topic
// brings. If this process has not read of the topic yet, it reads one message to learn how large
// they are; known is false if it could not.
func (t *Topics) Expect(ctx context.Context, topic string, messages, bytes int) (most int, known bool) {
	stream := StreamName(topic)
	if most, known = t.reader.expect(stream, messages, bytes); known {
		return most, true
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.CallTimeout)
	defer cancel()
	_, _ = t.reader.ask(ctx, stream, getRequest{Seq: 1, NextFor: ">"}) // the read itself meets an error again
	return t.reader.expect(stream, messages, bytes)
}

// Pending returns how many messages topic has at and after the sequence from. If key is
// not "", it counts only those with that key. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Pending(ctx context.Context, topic string, from uint64, key string) (uint64, error) {
	if key == "" {
		stream, err := t.stream(ctx, topic)
		if err != nil {
			return 0, err
		}
		state := stream.CachedInfo().State
		if first := max(from, state.FirstSeq); state.NumDeleted == 0 {
			return state.LastSeq + 1 - min(first, state.LastSeq+1), nil
		}
	}

	b, err := t.readBatch(ctx, topic, Range{From: from, Key: key, Max: 1, MaxBytes: 1})
	return b.pending, err
}

// readGood reads the messages of r before the first one whose headers are broken, and
// reports whether such a message exists.
func (t *Topics) readGood(ctx context.Context, topic string, r Range) (msgs []Message, broken bool, err error) {
	if r.Key == "" && r.Since.IsZero() {
		memory, err := t.inMemory(ctx, topic)
		if err != nil {
			return nil, false, err
		}
		if memory {
			return t.readOneByOne(ctx, topic, r)
		}
	}
	b, err := t.readBatch(ctx, topic, r)
	return b.messages, b.broken, err
}

// readBatch reads with the engine's batched direct get. The jetstreamext library,
// which can do that too, mistakes a lost answer for the end of the batch.
func (t *Topics) readBatch(ctx context.Context, topic string, r Range) (batch, error) {
	request := requestFor(topic, r)
	request.Batch, request.MaxBytes = r.Max, r.MaxBytes
	replies, err := t.ask(ctx, topic, request)
	if err != nil {
		return batch{}, err
	}
	return decodeBatch(replies)
}

// requestFor returns the request for the first message of r.
func requestFor(topic string, r Range) getRequest {
	request := getRequest{Seq: max(r.From, 1)}
	if !r.Since.IsZero() {
		request.Seq, request.StartTime = 0, &r.Since
	}
	if r.Key != "" {
		request.NextFor = Subject(topic, r.Key)
	}
	return request
}

// readOneByOne reads a topic in memory. There the engine counts the messages after
// a batch one by one, which takes 40 ms for a million, and blocks all writes
// meanwhile. So this asks for the first message alone and then for those with the
// following sequences, up to the first gap.
func (t *Topics) readOneByOne(ctx context.Context, topic string, r Range) (msgs []Message, broken bool, err error) {
	replies, err := t.ask(ctx, topic, getRequest{Seq: max(r.From, 1), NextFor: ">"})
	if err != nil || kindOf(replies[0]) != messageReply {
		return nil, err == nil && kindOf(replies[0]) == brokenReply, err
	}
	if msgs, err = decodeAll(replies); err != nil {
		return nil, false, err
	}

	more := min(r.Max, maxOneByOne, t.reader.mayAsk(StreamName(topic)), r.MaxBytes/(len(msgs[0].Data)+1)+1) - 1
	if more <= 0 {
		return msgs, false, nil
	}
	requests := make([]getRequest, more)
	for i := range requests {
		requests[i] = getRequest{Seq: msgs[0].Sequence + 1 + uint64(i)}
	}
	if replies, err = t.ask(ctx, topic, requests...); err != nil {
		return nil, false, err
	}

	replies = slices.DeleteFunc(replies, func(m *nats.Msg) bool { return kindOf(m) != messageReply })
	rest, err := decodeAll(replies)
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(rest, func(a, b Message) int { return cmp.Compare(a.Sequence, b.Sequence) })

	bytes := len(msgs[0].Data)
	for _, m := range rest {
		if bytes >= r.MaxBytes || m.Sequence != msgs[len(msgs)-1].Sequence+1 {
			break
		}
		msgs = append(msgs, m)
		bytes += len(m.Data)
	}
	return msgs, false, nil
}

// readFromLeader reads the first message of r from the leader of the stream. If broken is
// set, it reads the message without its headers: a NATS client has published it with
// headers that nats.go cannot parse.
func (t *Topics) readFromLeader(ctx context.Context, topic string, r Range, broken bool) ([]Message, error) {
	request := requestFor(topic, r)
	request.NoHeaders = broken
	if request.NextFor == "" {
		request.NextFor = ">"
	}
	m, err := t.fromLeader(ctx, StreamName(topic), request)
	switch {
	case isMissing(err):
		return nil, &TopicNotFoundError{Topic: topic}
	case m == nil || err != nil:
		return nil, err
	}
	return decodeAll([]*nats.Msg{m})
}

// storedMessage is a message as the leader of a stream returns it.
type storedMessage struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"seq"`
	Time     string `json:"time"`
	Headers  []byte `json:"hdrs"`
	Data     []byte `json:"data"`
}

// fromLeader returns a message of a stream as the leader of the stream has it, or nil if
// there is none. Any replica may answer a direct get. Errors: [*UnavailableError].
func (t *Topics) fromLeader(ctx context.Context, stream string, request getRequest) (*nats.Msg, error) {
	body, err := json.Marshal(&request)
	if err != nil {
		return nil, engine.Unavailable("read", err)
	}

	stored, err := repeat(ctx, t, func(ctx context.Context) (storedMessage, error) {
		reply, err := t.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
		if err != nil {
			return storedMessage{}, err
		}
		var out struct {
			Error   *jetstream.APIError `json:"error"`
			Message storedMessage       `json:"message"`
		}
		if err := json.Unmarshal(reply.Data, &out); err != nil {
			return storedMessage{}, err
		}
		if out.Error != nil {
			return storedMessage{}, t.doubt(ctx, stream, out.Error)
		}
		return out.Message, nil
	})
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, engine.Unavailable("read", err)
	}

	// As a direct get returns it.
	m := nats.NewMsg(stored.Subject)
	m.Data = stored.Data
	if len(stored.Headers) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(stored.Headers); err != nil {
			return nil, engine.Unavailable("read", err)
		}
	}
	m.Header.Set(jetstream.SequenceHeader, strconv.FormatUint(stored.Sequence, 10))
	m.Header.Set(jetstream.SubjectHeader, stored.Subject)
	m.Header.Set(jetstream.TimeStampHeaer, stored.Time)
	return m, nil
}

// inMemory reports whether topic is stored in memory. A topic that was deleted and
// created again by another process may be taken for what it was before; reading it
// is then slower, but right.
func (t *Topics) inMemory(ctx context.Context, topic string) (bool, error) {
	if memory, ok := t.memory.Get(topic); ok {
		return memory, nil
	}
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return false, err
	}
	memory := stream.CachedInfo().Config.Storage == Memory
	t.memory.Add(topic, memory)
	return memory, nil
}

// ask sends requests about topic and returns the engine's replies, like reader.ask.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) ask(ctx context.Context, topic string, requests ...getRequest) ([]*nats.Msg, error) {
	return repeat(ctx, t, func(ctx context.Context) ([]*nats.Msg, error) {
		replies, err := t.reader.ask(ctx, StreamName(topic), requests...)
		if errors.Is(err, nats.ErrNoResponders) {
			err = t.noResponders(ctx, topic)
		}
		return replies, err
	})
}
