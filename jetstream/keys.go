package jetstream

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// An idempotency key ([Draft].ID) is taken from the moment a message with it is accepted:
// while the message waits, by its subject in the stream of the delayed messages, which
// has a hash of the key in it; then by the topic, for its dedup window.
//
// A delayed message takes the key first, and then looks whether the topic has it. A
// message that is stored at once looks whether the key waits before it is stored, and
// again afterwards. So of two calls at the same time, one sees the other.

// probeSubject is a subject of the stream of the delayed messages on which nothing is ever stored.
const probeSubject = "dq-delayed.probe"

// keyChecked is how long a process relies on what it knows of a topic that has waiting keys.
const keyChecked = time.Second

// keyPlace returns the part of the subjects of a delayed message that its topic and key give.
func keyPlace(topic, created, id string) string {
	sum := sha256.Sum256([]byte(created + "/" + id))
	return EncodeName(topic) + "." + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// keySubjects returns the subjects on which a message with a key waits, or is due.
func keySubjects(topic, created, id string) string {
	return "dq-delayed.*." + keyPlace(topic, created, id) + ".*"
}

// topicKeys is what a process that has the engine to itself knows of the waiting keys of
// a topic. Most topics have none, and then a produce call asks nobody.
type topicKeys struct {
	none atomic.Bool // no key waits

	mu      sync.Mutex
	taking  int       // calls under way that take keys
	taken   int       // all of them, so far
	checked time.Time // when none was last looked up
}

func (d *Delayer) keysOf(topic string) *topicKeys {
	k, ok := d.keys.Load(topic)
	if !ok {
		k, _ = d.keys.LoadOrStore(topic, new(topicKeys))
	}
	return k.(*topicKeys)
}

// take records that a call takes keys, until done is called.
func (k *topicKeys) take() (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taking++
	k.taken++
	k.none.Store(false)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.taking--
	}
}

// lookUp asks from time to time whether a key of the topic waits.
func (k *topicKeys) lookUp(ctx context.Context, d *Delayer, topic string) error {
	k.mu.Lock()
	begun, need := k.taken, k.taking == 0 && time.Since(k.checked) > keyChecked
	if need {
		k.checked = time.Now()
	}
	k.mu.Unlock()
	if !need {
		return nil
	}

	last, err := d.lastOn(ctx, "dq-delayed.*."+EncodeName(topic)+".*.*")
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if last[0] == 0 && k.taken == begun {
		k.none.Store(true)
	}
	return nil
}

// lastOn returns, for each filter, the last sequence of the delayed messages on these
// subjects; 0 if there is none. It publishes messages with an expectation that cannot be
// met, which the leader refuses with that sequence. Errors: [*UnavailableError].
func (d *Delayer) lastOn(ctx context.Context, filters ...string) ([]uint64, error) {
	probes := make([]*nats.Msg, len(filters))
	for i, filter := range filters {
		probes[i] = nats.NewMsg(probeSubject)
		probes[i].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.Itoa(math.MaxInt64))
		probes[i].Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, filter)
	}

	last := make([]uint64, len(filters))
	for i, a := range d.topics.publisher.publishDecided(ctx, probes) {
		sequence, ok := expectedSequence(a.err)
		if !ok {
			return nil, engine.Unavailable("look for delayed messages", a.err)
		}
		last[i] = sequence
	}
	return last, nil
}

// expectedSequence returns the sequence that the engine says would have been right.
func expectedSequence(err error) (sequence uint64, ok bool) {
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != codeWrongLastSequence {
		return 0, false
	}
	sequence, err = strconv.ParseUint(strings.TrimPrefix(api.Description, "wrong last sequence: "), 10, 64)
	return sequence, err == nil
}

// waiting returns for each of drafts the sequence of the delayed message that has its
// key; 0 if there is none. It returns nil if there is none for all of them.
// Errors: [*UnavailableError].
func (d *Delayer) waiting(ctx context.Context, topic string, drafts []Draft) ([]uint64, error) {
	var keyed []int
	for i := range drafts {
		if drafts[i].ID != "" {
			keyed = append(keyed, i)
		}
	}
	alone := d.topics.opts.Alone
	if len(keyed) == 0 || alone && d.keysOf(topic).none.Load() {
		return nil, nil
	}

	stream, err := d.topics.stream(ctx, topic)
	switch {
	case errors.As(err, new(*TopicNotFoundError)), errors.As(err, new(*TopicDamagedError)):
		return nil, nil // the topic says so itself
	case err != nil:
		return nil, err
	}
	if err := d.awaitOpen(ctx); err != nil {
		return nil, err
	}
	if alone {
		if err := d.keysOf(topic).lookUp(ctx, d, topic); err != nil || d.keysOf(topic).none.Load() {
			return nil, err
		}
	}

	filters := make([]string, len(keyed))
	for j, i := range keyed {
		filters[j] = keySubjects(topic, creation(stream), drafts[i].ID)
	}
	last, err := d.lastOn(ctx, filters...)
	if err != nil {
		return nil, err
	}
	var found []uint64
	for j, i := range keyed {
		if last[j] > 0 {
			if found == nil {
				found = make([]uint64, len(drafts))
			}
			found[i] = last[j]
		}
	}
	return found, nil
}

// PublishAll is [Topics.PublishAll], except that a message is a duplicate, too, if a
// delayed one with its key waits.
func (d *Delayer) PublishAll(ctx context.Context, topic string, drafts []Draft) []Receipt {
	receipts := make([]Receipt, len(drafts))
	waiting, err := d.waiting(ctx, topic, drafts)
	if err != nil {
		for i := range receipts {
			receipts[i].Err = err
		}
		return receipts
	}
	if waiting == nil {
		receipts = d.topics.PublishAll(ctx, topic, drafts)
		d.release(ctx, topic, drafts, receipts)
		return receipts
	}

	var free []Draft
	var places []int // in drafts
	for i := range drafts {
		if waiting[i] > 0 {
			receipts[i] = Receipt{Delayed: true, Duplicate: true}
			continue
		}
		free, places = append(free, drafts[i]), append(places, i)
	}
	if len(free) == 0 {
		return receipts
	}
	stored := d.topics.PublishAll(ctx, topic, free)
	d.release(ctx, topic, free, stored)
	for j, i := range places {
		receipts[i] = stored[j]
	}
	return receipts
}

// PublishAtomically is [Topics.PublishAtomically], except that keys are taken, too, by
// delayed messages that wait.
func (d *Delayer) PublishAtomically(
	ctx context.Context, topic string, drafts []Draft, expected *uint64,
) ([]Receipt, error) {
	waiting, err := d.waiting(ctx, topic, drafts)
	switch {
	case err != nil:
		return nil, err
	case len(waiting) == 1:
		return []Receipt{{Delayed: true, Duplicate: true}}, nil
	case waiting != nil:
		return nil, &DuplicateError{}
	}

	receipts, err := d.topics.PublishAtomically(ctx, topic, drafts, expected)
	if err != nil {
		return nil, err
	}
	d.release(ctx, topic, drafts, receipts)
	for _, r := range receipts {
		if r.Err != nil {
			return nil, r.Err
		}
	}
	return receipts, nil
}

// release removes delayed messages whose keys were used while those were on their way to
// wait: the topic has stored drafts with these keys. If that fails, the receipts say that
// the outcome is not known.
func (d *Delayer) release(ctx context.Context, topic string, drafts []Draft, receipts []Receipt) {
	waiting, err := d.waiting(ctx, topic, drafts)
	var remove []dueEntry

	for i := range drafts {
		if drafts[i].ID == "" || receipts[i].Err != nil {
			continue
		}
		if err == nil && waiting != nil && waiting[i] > 0 {
			var m *nats.Msg
			m, err = d.topics.fromLeader(ctx, delayStream, getRequest{Seq: waiting[i]})
			if m != nil && after(m.Header) < receipts[i].Sequence { // it was accepted before
				remove = append(remove, dueEntry{sequence: waiting[i]})
			}
		}
	}

	if err == nil {
		err = d.topics.deleteMessages(ctx, delayStream, remove)
	}
	if err == nil {
		return
	}

	for i := range drafts {
		if drafts[i].ID != "" && receipts[i].Err == nil {
			receipts[i] = Receipt{Err: err}
		}
	}
}

// after returns the last sequence that its topic had before a delayed message was accepted.
func after(header nats.Header) uint64 {
	sequence, _ := strconv.ParseUint(header.Get(delayAfter), 10, 64) // 0 if an earlier version stored it
	return sequence
}

// storedBefore returns the receipts of drafts whose keys the topic has already, and empty
// ones for all others. A message with such a key must not even wait: it might come due
// before [Delayer.refuseStored] removes it.
func (d *Delayer) storedBefore(ctx context.Context, topic string, drafts []Draft) []Receipt {
	receipts := make([]Receipt, len(drafts))
	var msgs []*nats.Msg
	var places []int // in drafts
	for i := range drafts {
		if drafts[i].ID != "" {
			msgs, places = append(msgs, drafts[i].encode(topic)), append(places, i)
		}
	}
	if len(msgs) == 0 {
		return receipts
	}
	for j, a := range d.topics.probe(ctx, msgs) {
		if a.duplicate { // refuseStored looks again, and says what else there is to say
			receipts[places[j]] = Receipt{Sequence: a.sequence, Duplicate: true}
		}
	}
	return receipts
}

// refuseStored looks which keys of delayed messages the topic has: those of drafts whose
// receipts say that they wait, at these sequences. Such a message is removed, and its
// receipt is that of a duplicate.
func (d *Delayer) refuseStored(
	ctx context.Context, topic string, drafts []Draft, receipts []Receipt, sequences []uint64,
) {
	var msgs []*nats.Msg
	var places []int // in drafts
	for i := range drafts {
		if drafts[i].ID != "" && sequences[i] > 0 {
			msgs, places = append(msgs, drafts[i].encode(topic)), append(places, i)
		}
	}
	if len(msgs) == 0 {
		return
	}

	var remove []dueEntry
	for j, a := range d.topics.probe(ctx, msgs) {
		i := places[j]
		var api *jetstream.APIError
		switch {
		case a.duplicate:
			receipts[i] = Receipt{Sequence: a.sequence, Duplicate: true}
			remove = append(remove, dueEntry{sequence: sequences[i]})
		case errors.As(a.err, &api) && api.ErrorCode == codeWrongLastID: // the topic does not have it
		default:
			receipts[i] = Receipt{Err: engine.Unavailable("look for an idempotency key", a.err)}
		}
	}
	if err := d.topics.deleteMessages(ctx, delayStream, remove); err != nil {
		for _, i := range places {
			if !receipts[i].Delayed {
				receipts[i] = Receipt{Err: err}
			}
		}
	}
}
