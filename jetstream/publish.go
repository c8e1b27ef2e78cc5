package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

// MaxAtomicBatch is the most messages of an atomic batch. It is the engine's
// limit.
const MaxAtomicBatch = 1000

// Publish appends data to topic and returns once the engine has stored it. The
// caller must not change data any more. Errors: [*TopicNotFoundError], [*FullError],
// [*MessageTooLargeError], [*StorageFullError], [*UnavailableError].
func (t *Topics) Publish(ctx context.Context, topic string, data []byte) error {
	if err := t.opts.checkSpace(Draft{Data: data}); err != nil {
		return err
	}

	answer := t.batcher(topic).submit(ctx, &nats.Msg{Subject: Subject(topic, ""), Data: data})
	if answer.err != nil {
		return t.publishError(ctx, topic, answer.err)
	}
	return nil
}

// PublishAll appends drafts to topic in their order, and returns once the engine
// has stored or refused each of them. Errors in the receipts: those of
// [Topics.Publish], [*BatchError] if a TTL is not valid.
func (t *Topics) PublishAll(ctx context.Context, topic string, drafts []Draft) []Receipt {
	now := sendTime()
	msgs := encodeAll(topic, drafts)
	receipts := make([]Receipt, len(drafts))
	if err := t.opts.checkSpace(drafts...); err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}

	for i, a := range t.publisher.publish(ctx, msgs...) {
		switch {
		case a.err != nil:
			receipts[i].Err = t.publishError(ctx, topic, a.err)
		case a.duplicate:
			receipts[i] = Receipt{Sequence: a.sequence, Duplicate: true}
		default:
			receipts[i] = Receipt{Sequence: a.sequence, Time: now}
		}
	}
	return receipts
}

// PublishAtomically appends all of drafts to topic at once, or none of them. If
// expected is not nil, it must be the topic's last sequence. A retry of a batch whose
// messages all have ids, and were all stored, gets receipts of duplicates.
//
// If it returns an error, nothing was stored; only after an [*UnavailableError] this is
// unknown. Errors: those of [Topics.Publish],
// [*SequenceError], [*DuplicateError], [*BatchError].
func (t *Topics) PublishAtomically(
	ctx context.Context, topic string, drafts []Draft, expected *uint64,
) ([]Receipt, error) {
	now := sendTime()
	if len(drafts) == 0 || len(drafts) > MaxAtomicBatch {
		problem := fmt.Sprintf("an atomic batch takes 1 to %d messages, not %d", MaxAtomicBatch, len(drafts))
		return nil, &BatchError{Problem: problem}
	}
	if err := t.opts.checkSpace(drafts...); err != nil {
		return nil, err
	}

	msgs := encodeAll(topic, drafts)
	if expected != nil {
		msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(*expected, 10)}
		if !t.opts.Alone {
			msgs[0].Header[writeHeader] = []string{nuid.Next()}
		}
	}
	answer := t.publishExpecting(ctx, topic, msgs, expected)
	if answer.err != nil {
		return t.notStored(ctx, topic, msgs, t.publishError(ctx, topic, answer.err))
	}

	if answer.duplicate {
		now = time.Time{}
	}
	receipts := make([]Receipt, len(drafts))
	for i := range receipts {
		sequence := answer.sequence - uint64(len(drafts)-1-i)
		receipts[i] = Receipt{Sequence: sequence, Time: now, Duplicate: answer.duplicate}
	}
	return receipts, nil
}

// publishExpecting publishes a batch. A refusal because the last sequence is not the expected one is checked where
// the engine is shared: a server that stood still may refuse what its successor has stored.
func (t *Topics) publishExpecting(
	ctx context.Context, topic string, msgs []*nats.Msg, expected *uint64,
) publishAnswer {
	sent := time.Now()
	answer := t.publisher.publishAtomically(ctx, msgs)
	late := time.Since(sent) > prompt
	if expected == nil || t.opts.Alone || !isConflict(answer.err) {
		return answer
	}

	// The time of the call may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstAttempt)
	defer cancel()
	next, err := t.fromLeader(ctx, StreamName(topic), getRequest{Seq: *expected + 1})
	switch {
	case isMissing(err):
		return answer
	case err != nil:
		return publishAnswer{err: err}
	case next != nil && next.Header.Get(writeHeader) == msgs[0].Header.Get(writeHeader):
		return publishAnswer{sequence: *expected + uint64(len(msgs))}
	case next == nil && late: // it may be on its way to the successor
		return publishAnswer{err: errOutOfDate}
	}
	return answer
}

// sendTime returns the time for the receipts of messages that are sent now.
func sendTime() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func encodeAll(topic string, drafts []Draft) []*nats.Msg {
	msgs := make([]*nats.Msg, len(drafts))
	for i := range drafts {
		msgs[i] = drafts[i].encode(topic)
	}
	return msgs
}

// notStored returns the receipts of a batch that was stored by an earlier call, or
// an error that says as exactly as possible why nothing of it was stored.
func (t *Topics) notStored(ctx context.Context, topic string, msgs []*nats.Msg, err error) ([]Receipt, error) {
	var sequence *SequenceError
	var duplicate *DuplicateError
	var api *jetstream.APIError

	switch {
	case errors.As(err, &sequence), errors.As(err, &duplicate):
		if receipts := t.storedBefore(ctx, msgs); receipts != nil {
			return receipts, nil
		}

	case errors.As(err, &api) && api.ErrorCode == codeBatchIncomplete:
		// The usual reason is a message that the engine dropped as too large.
		stream, lookup := t.stream(ctx, topic)
		if lookup != nil {
			return nil, lookup
		}
		limit := int(stream.CachedInfo().Config.MaxMsgSize)
		for _, m := range msgs {
			if limit > 0 && m.Size()-len(m.Subject)-len(m.Reply) > limit {
				return nil, &MessageTooLargeError{Topic: topic, Limit: limit}
			}
		}
	}
	return nil, err
}

// storedBefore returns the receipts of messages that were all stored before, or nil
// if not all of them were.
func (t *Topics) storedBefore(ctx context.Context, msgs []*nats.Msg) []Receipt {
	if slices.ContainsFunc(msgs, func(m *nats.Msg) bool { return m.Header.Get(jetstream.MsgIDHeader) == "" }) {
		return nil
	}

	receipts := make([]Receipt, len(msgs))
	for i, a := range t.probe(ctx, msgs) {
		if a.err != nil || !a.duplicate {
			return nil
		}
		receipts[i] = Receipt{Sequence: a.sequence, Duplicate: true}
	}
	return receipts
}

// probe asks a topic whether it knows the ids of msgs. It publishes a probe with the id of
// each message and an expectation that cannot be met. The engine checks the id first, so it
// answers a known id with the duplicate's sequence, and refuses any other probe.
func (t *Topics) probe(ctx context.Context, msgs []*nats.Msg) []publishAnswer {
	probes := make([]*nats.Msg, len(msgs))
	for i, m := range msgs {
		probes[i] = &nats.Msg{Subject: m.Subject, Header: nats.Header{
			jetstream.MsgIDHeader:             {m.Header.Get(jetstream.MsgIDHeader)},
			jetstream.ExpectedLastMsgIDHeader: {"none " + nuid.Next()},
		}}
	}
	return t.publisher.publishDecided(ctx, probes)
}

// publishError turns the engine's answer to a publish into an error of this package.
func (t *Topics) publishError(ctx context.Context, topic string, err error) error {
	switch err = permissionError(t.nc, err, subjectPrefix+EncodeName(topic)+"."); {
	case errors.Is(err, nats.ErrMaxPayload):
		return &MessageTooLargeError{Limit: int(t.nc.MaxPayload()), OfServers: true}
	case reachedNobody(err):
		return t.notReceived(ctx, topic, err)
	}

	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return engine.Unavailable("publish", err)
	}

	switch api.ErrorCode {
	case codeWrongStream: // another stream has the subject, so the topic's own does not exist
		return t.notReceived(ctx, topic, err)
	case codeMessageTooLarge:
		tooLarge := &MessageTooLargeError{Topic: topic}
		if stream, err := t.stream(ctx, topic); err == nil {
			tooLarge.Limit = int(stream.CachedInfo().Config.MaxMsgSize)
		}
		return tooLarge
	case codeWrongLastSequence, codeWrongLastSeqR3:
		wrong := &SequenceError{Topic: topic}
		if last, ok := expectedSequence(err); ok {
			wrong.Last = &last
		}
		return wrong
	case codeStoreFailed:
		if strings.HasPrefix(api.Description, "maximum ") { // of messages, or of bytes
			return &FullError{Topic: topic}
		}
		return engine.Unavailable("publish", err) // other servers may have stored it
	case codeBatchDuplicate:
		return &DuplicateError{}
	case codeInvalidTTL:
		return &BatchError{Problem: "a TTL is not valid"}
	}
	return &NotStoredError{Operation: "publish", Err: err}
}

// notReceived returns the error for messages that the stream of topic did not receive: the
// topic does not exist, is damaged, or its stream has no leader now.
func (t *Topics) notReceived(ctx context.Context, topic string, err error) error {
	var none *TopicNotFoundError
	var damaged *TopicDamagedError
	if _, lookup := t.stream(ctx, topic); errors.As(lookup, &none) || errors.As(lookup, &damaged) {
		return lookup
	}
	return &NotStoredError{Operation: "publish", Err: err}
}
