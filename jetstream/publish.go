package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// MaxAtomicBatch is the most messages of an atomic batch. It is the engine's
// limit.
const MaxAtomicBatch = 1000

// The headers of the engine's atomic batch publish (ADR-50).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// Publish appends data, which must not be changed any more, to topic and returns
// once the engine has stored it. Errors: [*NotFoundError], [*FullError],
// [*MessageTooLargeError], [*UnavailableError].
func (t *Topics) Publish(ctx context.Context, topic string, data []byte) error {
	if err := t.lane(topic).ride(ctx, data).err; err != nil {
		return publishError(topic, err)
	}
	return nil
}

// PublishAll appends drafts to topic, each for itself but in their order, and
// returns once the engine has confirmed or refused all of them. The errors in
// the receipts are those of [Topics.Publish].
func (t *Topics) PublishAll(ctx context.Context, topic string, drafts []Draft) []Receipt {
	now := time.Now().UTC().Truncate(time.Microsecond)
	call := t.publisher.begin(len(drafts), false)
	for i := range drafts {
		t.publisher.send(call, i, drafts[i].encode(KeySubject(topic, drafts[i].Key), now))
	}
	receipts := make([]Receipt, len(drafts))
	for i, a := range t.publisher.wait(ctx, call) {
		switch {
		case a.err != nil:
			receipts[i].Err = publishError(topic, a.err)
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
	if len(drafts) > MaxAtomicBatch {
		return nil, &BatchError{Problem: fmt.Sprintf("%d messages are too many for an atomic batch, which takes %d", len(drafts), MaxAtomicBatch)}
	}
	id := nuid.Next()
	for i := range drafts {
		m := drafts[i].encode(KeySubject(topic, drafts[i].Key), now)
		if i == 0 && expected != nil {
			m.Header[jetstream.ExpectedLastSeqHeader] = []string{strconv.FormatUint(*expected, 10)}
		}
		if len(drafts) == 1 { // the protocol of batches is not needed
			return t.commit(ctx, topic, m, now, 1)
		}
		m.Header[batchIDHeader] = []string{id}
		m.Header[batchSequenceHeader] = []string{strconv.Itoa(i + 1)}
		if i < len(drafts)-1 {
			// An error here is repeated in the answer to the last message.
			if err := t.nc.PublishMsg(m); err != nil {
				return nil, unavailable("publish", err)
			}
			continue
		}
		m.Header[batchCommitHeader] = []string{"1"}
		return t.commit(ctx, topic, m, now, uint64(len(drafts)))
	}
	return nil, &BatchError{Problem: "there is no message in it"}
}

// commit publishes the last message of a batch of n and reads the answer.
func (t *Topics) commit(ctx context.Context, topic string, m *nats.Msg, now time.Time, n uint64) ([]Receipt, error) {
	reply, err := t.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return nil, publishError(topic, err)
	}
	var answer struct {
		Error     *jetstream.APIError `json:"error"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, unavailable("publish", err)
	}
	if answer.Error != nil {
		return nil, publishError(topic, answer.Error)
	}
	if answer.Duplicate {
		now = time.Time{}
	}
	receipts := make([]Receipt, n)
	for i := range receipts {
		receipts[i] = Receipt{Sequence: answer.Sequence - n + 1 + uint64(i), Time: now, Duplicate: answer.Duplicate}
	}
	return receipts, nil
}

// The engine's error codes that say what was wrong with a publish.
const (
	codeMessageTooLarge   = 10054
	codeWrongLastSequence = 10071
	codeWrongLastSeqR3    = 10164
	codeStoreFailed       = 10077
	codeBatchDuplicate    = 10201
	codeBatchesInFlight   = 10210
	codeInvalidTTL        = 10165
)

func publishError(topic string, err error) error {
	if missing(err) {
		return &NotFoundError{Topic: topic}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeMessageTooLarge:
			return &MessageTooLargeError{Topic: topic}
		case codeWrongLastSequence, codeWrongLastSeqR3:
			last, _ := strconv.ParseUint(strings.TrimPrefix(api.Description, "wrong last sequence: "), 10, 64)
			return &SequenceError{Topic: topic, Last: last}
		case codeStoreFailed:
			if strings.HasPrefix(api.Description, "maximum ") { // of messages, or of bytes
				return &FullError{Topic: topic}
			}
		case codeBatchDuplicate:
			return &BatchError{Problem: "an idempotency key is there twice or was used before, so none of the batch was stored"}
		case codeInvalidTTL:
			return &BatchError{Problem: "a TTL is not valid"}
		}
	}
	return unavailable("publish", err)
}
