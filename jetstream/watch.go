package jetstream

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// watchLinger is how long a topic is still watched after the last call that
	// waited for its messages.
	watchLinger = 30 * time.Second

	// pollInterval is how often a waiting call looks without being woken. A new
	// message wakes it at once; polling notices what other processes do to the
	// consumer.
	pollInterval = time.Second
)

// watches are the watched topics: those whose next message some call of this process
// waits for.
type watches struct {
	mu     sync.Mutex
	topics map[string]*watch
}

// watch reports new messages of one topic.
type watch struct {
	started chan struct{} // closed when stop or err is set
	stop    func()        // ends the watch; nil if it could not be started
	err     error         // why it could not

	users  int         // calls that wait; guarded by the lock of watches
	linger *time.Timer // ends the watch some time after the last user; guarded likewise

	mu   sync.Mutex
	next chan struct{} // closed at the next message
}

// coming returns a channel that is closed when the next message has arrived.
func (w *watch) coming() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// arrived wakes the calls that wait.
func (w *watch) arrived() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

// watch starts to watch topic, or joins a watch that exists. The caller calls leave when
// it stops waiting. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) watch(ctx context.Context, topic string) (w *watch, leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout)
	defer cancel()

	w, first := t.watches.join(topic)
	if first {
		w.stop, w.err = t.watchNew(ctx, topic, w.arrived)
		close(w.started)
	}
	<-w.started // in bounded time: the first caller has a deadline

	if w.err != nil {
		t.watches.leave(topic, w)
		return nil, nil, w.err
	}
	return w, func() { t.watches.leave(topic, w) }, nil
}

// join adds a user to the watch of topic. The first user has to start it.
func (ws *watches) join(topic string) (w *watch, first bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w, ok := ws.topics[topic]; ok {
		w.users++
		return w, false
	}

	w = &watch{users: 1, started: make(chan struct{}), next: make(chan struct{})}
	w.linger = time.AfterFunc(watchLinger, func() { ws.end(topic, w) })
	if ws.topics == nil {
		ws.topics = make(map[string]*watch)
	}
	ws.topics[topic] = w
	return w, true
}

// leave removes a user of w. It forgets a watch that failed at once, so that the next
// call tries again.
func (ws *watches) leave(topic string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.users--
	switch {
	case w.err != nil:
		w.linger.Stop()
		if ws.topics[topic] == w {
			delete(ws.topics, topic)
		}
	case w.users == 0:
		w.linger.Reset(watchLinger)
	}
}

// end ends a watch that has no users.
func (ws *watches) end(topic string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.users == 0 && ws.topics[topic] == w {
		delete(ws.topics, topic)
		go w.stop() // not under the lock: it calls the engine
	}
}

// watchNew asks the engine to report new messages, without their data.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) watchNew(ctx context.Context, topic string, arrived func()) (stop func(), err error) {
	consumer, err := t.js.OrderedConsumer(ctx, StreamName(topic), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy,
		HeadersOnly:   true,
	})
	if isMissing(err) {
		return nil, t.missing(topic)
	}
	if err != nil {
		return nil, engine.Unavailable("watch the topic", err)
	}

	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if size, err := strconv.Atoi(m.Headers().Get(sizeHeader)); err == nil {
			t.reader.learn(StreamName(topic), size) // before the waiting calls take memory for it
		}
		arrived()
	})
	if err != nil {
		return nil, engine.Unavailable("watch the topic", err)
	}
	return consuming.Stop, nil
}

// wake makes the calls of this process that wait for topic look again.
func (t *Topics) wake(topic string) {
	t.watches.mu.Lock()
	defer t.watches.mu.Unlock()
	if w, ok := t.watches.topics[topic]; ok && w.users > 0 {
		w.arrived()
	}
}

// A ReadMemory bounds the memory of messages that are read. A call that waits for messages asks it before each attempt
// to read, and holds no memory while it only waits.
type ReadMemory interface {
	// Take waits until messages with at most so many bytes of data may be read. If known is
	// false, they may be far fewer.
	Take(bytes int, known bool) error
	// Give gives them back. It is called if nothing was read.
	Give()
}

// room is the memory for at most so many messages and bytes.
type room struct {
	memory   ReadMemory // nil: it is not bounded
	messages int
	bytes    int
}

// take takes the memory for messages of topic. The caller calls give if it reads none.
func (r *room) take(ctx context.Context, t *Topics, topic string) (give func(), err error) {
	if r.memory == nil {
		return func() {}, nil
	}
	return r.memory.Give, r.memory.Take(t.Expect(ctx, topic, r.messages, r.bytes))
}

// waitFor calls look until it finds something or fails: at once, whenever topic has
// a new message, at the time that look returns unless that is zero, and every
// pollInterval. It returns nothing, without an error, when ctx ends. The context
// that look gets outlives ctx, so that a look that has begun can finish.
func waitFor[T any](
	ctx context.Context, t *Topics, topic string, room room,
	look func(context.Context) (found []T, again time.Time, err error),
) ([]T, error) {
	lookNow := func() ([]T, time.Time, error) {
		give, err := room.take(ctx, t, topic)
		if err != nil {
			return nil, time.Time{}, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.CallTimeout)
		defer cancel()
		found, again, err := look(ctx)
		if len(found) == 0 {
			give()
		}
		return found, again, err
	}

	found, _, err := lookNow()
	if len(found) > 0 || err != nil || ctx.Err() != nil {
		return found, err
	}

	w, leave, err := t.watch(context.WithoutCancel(ctx), topic)
	if err != nil {
		return nil, err
	}
	defer leave()

	for ctx.Err() == nil {
		coming := w.coming() // before look, so that no message between the two is missed
		found, again, err := lookNow()
		if len(found) > 0 || err != nil {
			return found, err
		}

		pause := pollInterval
		if !again.IsZero() {
			pause = min(pause, max(time.Until(again), time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-coming:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil, nil
}
