package jetstream

import (
	"context"
	"errors"
	"fmt"
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

// Publish appends data, which must not be changed any more, to topic and returns
// once the engine has stored it. Errors: [*TopicNotFoundError], [*FullError],
// [*MessageTooLargeError], [*UnavailableError].
func (t *Topics) Publish(ctx context.Context, topic string, data []byte) error {
	if err := t.opts.checkSpace(Draft{Data: data}); err != nil {
		return err
	}
	if err := t.lane(topic).ride(ctx, &nats.Msg{Subject: Subject(topic, ""), Data: data}).err; err != nil {
		return t.publishError(ctx, topic, err)
	}
	return nil
}

// PublishAll appends drafts to topic, each for itself but in their order, and
// returns once the engine has confirmed or refused all of them. The errors in
// the receipts are those of [Topics.Publish].
func (t *Topics) PublishAll(ctx context.Context, topic string, drafts []Draft) []Receipt {
	now := time.Now().UTC().Truncate(time.Microsecond)
	msgs := make([]*nats.Msg, len(drafts))
	for i := range drafts {
		msgs[i] = drafts[i].encode(topic)
	}
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

// PublishAtomically appends all of drafts to topic at once, or none, if an
// error is returned that does not say that it is unknown. Unless expected is
// nil the topic's last sequence has to be that.
// Errors: those of [Topics.Publish], [*SequenceError], [*BatchError].
func (t *Topics) PublishAtomically(ctx context.Context, topic string, drafts []Draft, expected *uint64) ([]Receipt, error) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if len(drafts) == 0 || len(drafts) > MaxAtomicBatch {
		return nil, &BatchError{Problem: fmt.Sprintf("an atomic batch takes 1 to %d messages, not %d", MaxAtomicBatch, len(drafts))}
	}
	if err := t.opts.checkSpace(drafts...); err != nil {
		return nil, err
	}
	msgs := make([]*nats.Msg, len(drafts))
	for i := range drafts {
		msgs[i] = drafts[i].encode(topic)
	}
	if expected != nil {
		msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(*expected, 10)}
	}
	answer := t.publisher.publishAtomically(ctx, msgs)
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

// notStored finds out more about why nothing of a batch was stored.
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

// storedBefore returns the receipts of messages that were all stored before,
// which their ids tell, or nil. The engine checks an id before it checks what
// is expected of the last one, so it answers with the duplicate, or refuses.
func (t *Topics) storedBefore(ctx context.Context, msgs []*nats.Msg) []Receipt {
	probes := make([]*nats.Msg, len(msgs))
	for i, m := range msgs {
		id := m.Header.Get(jetstream.MsgIDHeader)
		if id == "" {
			return nil
		}
		probes[i] = &nats.Msg{Subject: m.Subject, Header: nats.Header{
			jetstream.MsgIDHeader:             {id},
			jetstream.ExpectedLastMsgIDHeader: {"none " + nuid.Next()},
		}}
	}
	receipts := make([]Receipt, len(msgs))
	for i, a := range t.publisher.publish(ctx, probes...) {
		if a.err != nil || !a.duplicate {
			return nil
		}
		receipts[i] = Receipt{Sequence: a.sequence, Duplicate: true}
	}
	return receipts
}

func (t *Topics) publishError(ctx context.Context, topic string, err error) error {
	if errors.Is(err, nats.ErrNoResponders) || missing(err) {
		return t.nobody(ctx, topic)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeMessageTooLarge:
			tooLarge := &MessageTooLargeError{Topic: topic}
			if stream, err := t.stream(ctx, topic); err == nil {
				tooLarge.Limit = int(stream.CachedInfo().Config.MaxMsgSize)
			}
			return tooLarge
		case codeWrongLastSequence, codeWrongLastSeqR3:
			wrong := &SequenceError{Topic: topic}
			if last, err := strconv.ParseUint(strings.TrimPrefix(api.Description, "wrong last sequence: "), 10, 64); err == nil {
				wrong.Last = &last
			}
			return wrong
		case codeStoreFailed:
			if strings.HasPrefix(api.Description, "maximum ") { // of messages, or of bytes
				return &FullError{Topic: topic}
			}
		case codeBatchDuplicate:
			return &DuplicateError{}
		case codeInvalidTTL:
			return &BatchError{Problem: "a TTL is not valid"}
		}
	}
	return engine.Unavailable("publish", err)
}
