package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// A Range says which messages to read.
type Range struct {
	From     uint64    // the first sequence; 0 is the first there is
	Since    time.Time // if set: the first message of that time or later, in place of From
	Key      string    // only messages with that key; "" is all
	Max      int       // messages, at least 1
	MaxBytes int       // the read stops behind the message that reaches them; at least 1
}

// getRequest is the body of the engine's direct get (ADR-31).
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"` // 0: one message, and nothing behind it
	MaxBytes  int        `json:"max_bytes,omitempty"`
	NoHeaders bool       `json:"no_hdr,omitempty"`
}

const (
	statusHeader  = "Status"
	pendingHeader = "Nats-Num-Pending"

	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// Read returns the messages of topic in r, in order; it may be fewer than there
// are, but not none. No message is no error.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Read(ctx context.Context, topic string, r Range) ([]Message, error) {
	msgs, broken, err := t.readGood(ctx, topic, r)
	if broken && len(msgs) == 0 && err == nil {
		return t.readPlain(ctx, topic, r)
	}
	return msgs, err
}

// readGood reads up to a message with broken headers.
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
	msgs, _, broken, err = t.readBatch(ctx, topic, r)
	return msgs, broken, err
}

// readPlain reads the first message of r without its headers, which a NATS
// client has written in a way that nobody can read.
func (t *Topics) readPlain(ctx context.Context, topic string, r Range) ([]Message, error) {
	request := getRequest{Seq: max(r.From, 1), NextFor: ">", NoHeaders: true}
	if !r.Since.IsZero() {
		request.Seq, request.StartTime = 0, &r.Since
	}
	if r.Key != "" {
		request.NextFor = Subject(topic, r.Key)
	}
	body, err := json.Marshal(&request)
	if err != nil {
		return nil, engine.Unavailable("read", err)
	}
	reply, err := t.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+StreamName(topic), body)
	if err != nil {
		return nil, engine.Unavailable("read", err)
	}
	var out struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &out); err != nil {
		return nil, engine.Unavailable("read", err)
	}
	if out.Error != nil {
		return nil, engine.Unavailable("read", out.Error)
	}
	m := out.Message
	return []Message{{Sequence: m.Sequence, Time: m.Time, Key: keyOf(m.Subject), Data: m.Data}}, nil
}

// readBatch reads by the engine's batched direct get, and returns how many
// messages there are from the first one on, too. The existing library for it takes
// a lost answer for the end of the batch, and we must not.
func (t *Topics) readBatch(ctx context.Context, topic string, r Range) (msgs []Message, pending uint64, broken bool, err error) {
	request := getRequest{Seq: max(r.From, 1), Batch: r.Max, MaxBytes: r.MaxBytes}
	if !r.Since.IsZero() {
		request.Seq, request.StartTime = 0, &r.Since
	}
	if r.Key != "" {
		request.NextFor = Subject(topic, r.Key)
	}
	replies, err := t.ask(ctx, topic, request)
	if err != nil {
		return nil, 0, false, err
	}
	return decodeBatch(replies)
}

// decodeBatch is the messages of a batch, and how many there are from the first
// one on.
func decodeBatch(replies []*nats.Msg) (msgs []Message, pending uint64, broken bool, err error) {
	end := replies[len(replies)-1]
	switch status := end.Header.Get(statusHeader); status {
	case statusEndOfBatch:
		pending, err = strconv.ParseUint(end.Header.Get(pendingHeader), 10, 64)
		if err != nil {
			return nil, 0, false, engine.Unavailable("read", fmt.Errorf("an end of batch without the number of pending messages: %w", err))
		}
	case statusNotFound:
		return nil, 0, false, nil
	default:
		return nil, 0, false, engine.Unavailable("read", fmt.Errorf("status %s: %s", status, end.Header.Get("Description")))
	}
	replies = replies[:len(replies)-1]
	pending += uint64(len(replies))
	if i := slices.IndexFunc(replies, func(m *nats.Msg) bool { return kindOf(m) == brokenReply }); i >= 0 {
		replies, broken = replies[:i], true
	}
	msgs, err = decodeAll(replies)
	return msgs, pending, broken, err
}

// maxOneByOne is how many messages are asked for at once.
const maxOneByOne = 256

// readOneByOne reads from memory. There the engine counts what is behind a batch
// one message at a time, which takes 40 ms for a million, and with it nobody can
// write. So this asks for a first message and then for those with the sequences
// behind it, as far as there are no gaps.
func (t *Topics) readOneByOne(ctx context.Context, topic string, r Range) (msgs []Message, broken bool, err error) {
	replies, err := t.ask(ctx, topic, getRequest{Seq: max(r.From, 1), NextFor: ">"})
	if err != nil || kindOf(replies[0]) != messageReply {
		return nil, err == nil && kindOf(replies[0]) == brokenReply, err
	}
	if msgs, err = decodeAll(replies); err != nil {
		return nil, false, err
	}
	more := min(r.Max, maxOneByOne, r.MaxBytes/(len(msgs[0].Data)+1)+1) - 1
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

func decodeAll(replies []*nats.Msg) ([]Message, error) {
	msgs := make([]Message, len(replies))
	for i := range msgs {
		var err error
		if msgs[i], err = decode(replies[i]); err != nil {
			return nil, engine.Unavailable("read", fmt.Errorf("a message without its place: %w", err))
		}
	}
	return msgs, nil
}

// inMemory reports whether topic is kept in memory. A topic that was deleted and
// made again may be taken for what it was, which is slower and no less right.
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

// Pending is how many messages of topic, with that key if it is not "", there
// are from sequence from on. Errors: as for [Topics.Read].
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
	_, pending, _, err := t.readBatch(ctx, topic, Range{From: from, Key: key, Max: 1, MaxBytes: 1})
	return pending, err
}

// ask is the reader's, and finds out what it means that nobody answers.
func (t *Topics) ask(ctx context.Context, topic string, requests ...getRequest) ([]*nats.Msg, error) {
	replies, err := t.reader.ask(ctx, StreamName(topic), requests...)
	if errors.Is(err, nats.ErrNoResponders) {
		err = t.nobody(ctx, topic)
	}
	return replies, err
}

// ReadWait is [Topics.Read], and waits for a message until ctx ends, which is no
// error.
func (t *Topics) ReadWait(ctx context.Context, topic string, r Range) (msgs []Message, err error) {
	err = t.waitFor(ctx, topic, func() (bool, time.Time, error) {
		calls, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.CallTimeout)
		defer cancel()
		msgs, err = t.Read(calls, topic, r)
		return err != nil || len(msgs) > 0, time.Time{}, err
	})
	return msgs, err
}
