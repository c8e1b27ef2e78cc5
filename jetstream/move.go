package jetstream

import (
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

const (
	// maxMove is the most messages that are moved at once.
	maxMove = 256

	// firstPause and lastPause bound the pause before the next attempt with a topic that takes no messages. It doubles
	// after each attempt.
	firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second

	// misfitPause is the pause before the next attempt with a message that is too large for its topic.
	misfitPause = time.Minute

	// sayAgain is the shortest time between two lines of the log about the messages of one topic.
	sayAgain = time.Minute

	// forgetAfter is how long a queue remembers what was moved while it waited.
	forgetAfter = 10 * time.Minute

	// markAfter is how many messages a topic stores before its mark is moved forward.
	markAfter = 10_000
)

// A mark is the last sequence of a topic at some time. Messages that were moved to the topic before that time are no
// longer among the due messages. So a mover that starts needs to look only at what the topic has stored since then,
// however the earlier mover ended.
type mark struct {
	Created string // when the topic was created
	Last    uint64
}

// batchSize is the most messages of q that may be moved at once.
func (q *dueQueue) batchSize() int {
	if q.failures > 0 {
		return 1
	}
	return maxMove
}

// move moves a batch of due messages to their topic. It returns those that are to be
// tried again, and the pause before that.
func (m *mover) move(ctx context.Context, q *dueQueue, batch []dueEntry) (rest []dueEntry, pause time.Duration) {
	if !m.valid() || ctx.Err() != nil {
		return batch, firstPause
	}
	// A move that has begun is finished after Stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.topics.opts.CallTimeout)
	defer cancel()

	if time.Since(q.pruned) > forgetAfter {
		q.forgetEarly()
	}
	a := attempt{mover: m, queue: q}
	a.run(ctx, batch)
	m.count(q, batch, a.rest, a.misfits)
	m.addLater(q, misfitPause, a.misfits...)

	if a.err == nil {
		if q.failures > 0 {
			m.say(q, "the topic takes its delayed messages again")
		}
		q.failures = 0
		return a.rest, 0
	}
	if q.failures == 0 {
		m.say(q, "delayed messages wait: their topic does not take them", "error", a.err)
	}
	pause = min(firstPause<<min(q.failures, 10), lastPause)
	q.failures++
	return a.rest, pause
}

// count updates how many messages of q the topic may already have.
func (m *mover) count(q *dueQueue, batch, rest, misfits []dueEntry) {
	sure := func(e dueEntry) bool { return !e.unsure }
	unsure := func(entries []dueEntry) int { return len(slices.DeleteFunc(slices.Clone(entries), sure)) }
	m.mu.Lock()
	defer m.mu.Unlock()
	q.unsure += unsure(rest) + unsure(misfits) - unsure(batch)
}

// say logs something about a topic, but not more often than every sayAgain.
func (m *mover) say(q *dueQueue, text string, args ...any) {
	if time.Since(q.said) < sayAgain {
		return
	}
	q.said = time.Now()
	m.log.Warn(text, append([]any{"topic", q.topic}, args...)...)
}

// An attempt is one attempt to move a batch.
type attempt struct {
	*mover
	queue *dueQueue

	drafts  []Draft    // to be moved
	sources []dueEntry // of drafts
	done    []dueEntry // that were moved, or are dropped, and are to be removed

	rest    []dueEntry // that are to be tried again
	misfits []dueEntry // that are too large for the topic now
	err     error      // why the topic took no further message
}

// run moves what can be moved, and removes it from the due messages.
func (a *attempt) run(ctx context.Context, batch []dueEntry) {
	stream, err := a.topics.stream(ctx, a.queue.topic)
	if errors.As(err, new(*TopicNotFoundError)) {
		a.drop(batch...)
		a.remove(ctx)
		return
	}
	if err != nil {
		a.fail(err, batch...)
		return
	}

	limit := int(stream.CachedInfo().Config.MaxMsgSize)
	if batch = a.load(ctx, creation(stream), limit, batch); a.err != nil {
		a.fail(a.err, batch...)
		return
	}
	if err := a.prepare(ctx, stream); err != nil {
		a.fail(err, a.sources...)
	} else {
		a.publish(ctx)
	}
	a.remove(ctx)
}

// fail puts entries back, to be tried again.
func (a *attempt) fail(err error, entries ...dueEntry) {
	a.err = err
	a.rest = append(a.rest, entries...)
}

// drop drops messages whose topic was deleted.
func (a *attempt) drop(entries ...dueEntry) {
	a.done = append(a.done, entries...)
	a.queue.dropped += len(entries)
	if time.Since(a.queue.said) >= sayAgain {
		a.say(a.queue, "delayed messages were dropped: their topic was deleted", "messages", a.queue.dropped)
		a.queue.dropped = 0
	}
}

// load reads the messages of batch, and decides which are to be moved. After an error it
// returns all of batch.
func (a *attempt) load(ctx context.Context, created string, limit int, batch []dueEntry) []dueEntry {
	var wanted []dueEntry
	for _, e := range batch {
		if limit >= 0 && e.size > limit {
			a.misfit(e, &MessageTooLargeError{Topic: a.queue.topic, Limit: limit})
			continue
		}
		wanted = append(wanted, e)
	}
	messages, err := a.readDue(ctx, wanted)
	if err != nil {
		a.misfits, a.err = nil, err
		return batch
	}

	for _, e := range wanted {
		m, ok := messages[e.sequence]
		switch {
		case !ok: // it was moved
		case m.Header.Get(delayTopic) != created: // another topic has its name
			a.drop(e)
		default:
			e.after = after(m.Header)
			a.add(due(m.Header, m.Data, e.sequence), e)
		}
	}
	return nil
}

// add adds a message to those that are to be moved, unless it was moved while it waited:
// the engine may have made it due at the same time.
func (a *attempt) add(draft Draft, e dueEntry) {
	own := ReservedIDPrefix + "delayed-" + strconv.FormatInt(e.until, 10) + "-" + draft.ID
	for _, id := range []string{draft.ID, own} {
		if _, moved := a.queue.early[earlyKey{id, e.until}]; moved && !e.waiting {
			a.done = append(a.done, e)
			return
		}
	}
	if e.anew {
		draft.ID = own
	}
	a.drafts, a.sources = append(a.drafts, draft), append(a.sources, e)
}

// misfit makes a message that does not fit into its topic wait until the topic has other settings.
func (a *attempt) misfit(e dueEntry, err error) {
	a.misfits = append(a.misfits, e)
	a.say(a.queue, "a delayed message waits: its topic does not take it", "error", err)
}

// readDue returns the due messages of entries that still exist, by sequence.
// Errors: [*UnavailableError].
func (m *mover) readDue(ctx context.Context, entries []dueEntry) (map[uint64]*nats.Msg, error) {
	messages := make(map[uint64]*nats.Msg, len(entries))
	if len(entries) == 0 {
		return messages, nil
	}
	requests := make([]getRequest, len(entries))
	for i, e := range entries {
		requests[i].Seq = e.sequence
	}
	replies, err := m.topics.reader.ask(ctx, delayStream, requests...)
	if err != nil {
		return nil, engine.Unavailable("read the due messages", err)
	}
	for _, reply := range replies {
		if kindOf(reply) != messageReply {
			continue
		}
		if message, err := decode(reply); err == nil {
			messages[message.Sequence] = reply
		}
	}

	// A replica may not have a message yet. Only the leader knows that it was removed.
	for _, e := range entries {
		if messages[e.sequence] != nil {
			continue
		}
		message, err := m.topics.fromLeader(ctx, delayStream, getRequest{Seq: e.sequence})
		if err != nil {
			return nil, err
		}
		if message != nil {
			messages[e.sequence] = message
		}
	}
	return messages, nil
}

// prepare sets the mark of the topic, and drops drafts that the topic already has.
func (a *attempt) prepare(ctx context.Context, stream jetstream.Stream) error {
	if len(a.drafts) == 0 {
		return nil
	}
	q, last := a.queue, stream.CachedInfo().State.LastSeq
	if err := a.setMark(ctx, creation(stream), last); err != nil {
		return err
	}

	unsure := slices.ContainsFunc(a.sources, func(e dueEntry) bool { return e.unsure })
	if !unsure {
		return nil
	}
	if q.found == nil {
		found, err := a.topics.idsAfter(ctx, q.topic, q.mark.Last, last)
		if err != nil {
			return err
		}
		q.found = found
	}
	var drafts []Draft
	var sources []dueEntry
	for i, e := range a.sources {
		if sequence, found := q.found[a.drafts[i].ID]; found && e.unsure && sequence > e.after {
			a.done = append(a.done, e)
			continue
		}
		drafts, sources = append(drafts, a.drafts[i]), append(sources, e)
	}
	a.drafts, a.sources = drafts, sources
	return nil
}

// setMark makes sure that the topic, whose last sequence is last, has a recent mark.
func (a *attempt) setMark(ctx context.Context, created string, last uint64) error {
	q := a.queue
	a.mu.Lock()
	sure := q.unsure == 0 && a.listed
	a.mu.Unlock()
	if sure {
		q.found = nil
	}

	next := mark{Created: created, Last: last}
	if q.mark.Created != created {
		q.found = nil
		stored, err := a.storedMark(ctx, q.topic)
		if err != nil {
			return err
		}
		if stored.Created == created {
			q.mark = stored
			return nil
		}
		if next.Last, err = a.markBeforePlain(ctx, last); err != nil {
			return err
		}
	} else if !sure || last-q.mark.Last < markAfter {
		return nil
	}

	if err := a.storeMark(ctx, q.topic, next); err != nil {
		return err
	}
	q.mark = next
	return nil
}

// markBeforePlain returns where the first mark of a topic is set: at last or, if an
// earlier version, which set none, may have moved a message of the batch, before the
// first message that the topic has stored since that one was due.
func (a *attempt) markBeforePlain(ctx context.Context, last uint64) (uint64, error) {
	var first time.Time
	for _, e := range a.sources {
		if until := time.UnixMicro(e.until); e.plain && e.unsure && (first.IsZero() || until.Before(first)) {
			first = until
		}
	}
	if first.IsZero() {
		return last, nil
	}

	since, err := a.topics.Read(ctx, a.queue.topic, Range{Since: first, Max: 1, MaxBytes: 1})
	if err != nil || len(since) == 0 {
		return last, err
	}
	return since[0].Sequence - 1, nil
}

// storedMark returns the mark of topic that is stored, or none. Errors: [*UnavailableError].
func (m *mover) storedMark(ctx context.Context, topic string) (stored mark, err error) {
	request := getRequest{LastFor: markSubject + EncodeName(topic)}
	message, err := m.topics.fromLeader(ctx, delayStream, request)
	if err != nil || message == nil {
		return mark{}, err
	}
	err = json.Unmarshal(message.Data, &stored)
	return stored, err
}

// storeMark stores a mark, before the first message is moved that it counts for.
func (m *mover) storeMark(ctx context.Context, topic string, next mark) error {
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	message := nats.NewMsg(markSubject + EncodeName(topic))
	message.Data = data
	message.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	if err := m.topics.publisher.publish(ctx, message)[0].err; err != nil {
		return engine.Unavailable("store a mark", err)
	}
	return m.topics.opts.sync(ctx)
}

// publish stores the drafts in their topic.
func (a *attempt) publish(ctx context.Context) {
	if len(a.drafts) == 0 {
		return
	}

	for i, r := range a.topics.PublishAll(ctx, a.queue.topic, a.drafts) {
		e := a.sources[i]
		switch {
		case r.Duplicate && r.Sequence <= e.after:
			// When the message was accepted, the key was free. Since then, the window became
			// longer, and a start has learnt the key of an earlier message again.
			e.anew = true
			a.rest = append(a.rest, e)
		case r.Err == nil:
			a.done = append(a.done, e)
			if e.waiting {
				a.queue.early[earlyKey{a.drafts[i].ID, e.until}] = time.Now()
			}
		case errors.As(r.Err, new(*TopicNotFoundError)):
			a.drop(e)
		case errors.As(r.Err, new(*MessageTooLargeError)), errors.As(r.Err, new(*BatchError)):
			a.misfit(e, r.Err)
		case errors.As(r.Err, new(*FullError)), errors.As(r.Err, new(*StorageFullError)):
			a.fail(r.Err, e)
		default: // it is unknown whether the topic has it
			e.unsure = true
			a.queue.found = nil
			a.fail(r.Err, e)
		}
	}
}

// forgetEarly forgets messages that were moved so long ago that the engine will not make them due again.
func (q *dueQueue) forgetEarly() {
	for id, at := range q.early {
		if time.Since(at) > forgetAfter {
			delete(q.early, id)
		}
	}
	q.pruned = time.Now()
}

// remove removes the messages that are done from the due messages.
func (a *attempt) remove(ctx context.Context) {
	if len(a.done) == 0 {
		return
	}
	err := a.topics.opts.sync(ctx)
	if err == nil {
		err = a.topics.deleteMessages(ctx, delayStream, a.done)
	}
	if err == nil {
		return
	}

	// The next attempt finds them in the topic, and removes them.
	a.queue.found = nil
	for i := range a.done {
		a.done[i].unsure = true
	}
	a.fail(err, a.done...)
}

// close removes the marks after a mover that has ended cleanly: nothing that it moved is
// among the due messages.
func (m *mover) close() {
	ctx, cancel := context.WithTimeout(context.Background(), m.topics.opts.CallTimeout)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	clean, marked := m.valid(), false
	for _, q := range m.queues {
		clean = clean && q.unsure == 0
		marked = marked || q.mark.Created != ""
	}
	if clean && marked && m.listed {
		_ = m.stream.Purge(ctx, jetstream.WithPurgeSubject(markSubject+"*")) // otherwise a start looks at more
	}
}

// deleteMessages deletes messages of a stream. Errors: [*UnavailableError].
func (t *Topics) deleteMessages(ctx context.Context, stream string, entries []dueEntry) error {
	if len(entries) == 0 {
		return nil
	}
	requests := make([]*nats.Msg, len(entries))
	for i, e := range entries {
		requests[i] = nats.NewMsg("$JS.API.STREAM.MSG.DELETE." + stream)
		requests[i].Data = fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, e.sequence)
	}
	for _, a := range t.publisher.send(ctx, requests) {
		if a.err != nil && !isNoMessage(a.err) {
			return engine.Unavailable("remove a due message", a.err)
		}
	}
	return nil
}

// idsAfter returns the ids of the messages that topic has stored after the sequence
// after, up to last, with their sequences. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) idsAfter(ctx context.Context, topic string, after, last uint64) (map[string]uint64, error) {
	ids := make(map[string]uint64)
	if last <= after {
		return ids, nil
	}
	consumer, err := t.js.CreateConsumer(ctx, StreamName(topic), jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, engine.Unavailable("look for moved messages", err)
	}
	info := consumer.CachedInfo()
	defer func() { _ = t.js.DeleteConsumer(ctx, StreamName(topic), info.Name) }()

	if info.NumPending == 0 {
		return ids, nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, engine.Unavailable("look for moved messages", err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, engine.Unavailable("look for moved messages", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, engine.Unavailable("look for moved messages", err)
		}
		ids[m.Headers().Get(jetstream.MsgIDHeader)] = meta.Sequence.Stream
		if meta.NumPending == 0 || meta.Sequence.Stream >= last {
			return ids, nil
		}
	}
}
