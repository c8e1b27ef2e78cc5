package jetstream

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// watchLinger is how long a topic is still watched when nobody waits for it
	// any more.
	watchLinger = 30 * time.Second

	// lookAgain is how often one who waits looks for itself. A message in the
	// topic wakes it at once; this is for what others do to the consumer.
	lookAgain = time.Second
)

// watches are the topics for whose next message somebody waits.
type watches struct {
	mu     sync.Mutex
	topics map[string]*watch
}

// watch tells of new messages of one topic.
type watch struct {
	started chan struct{} // closed when the engine has answered
	stop    func()        // nil if it is not watching
	err     error         // why it is not

	users  int // these two are under the lock of watches
	linger *time.Timer

	mu   sync.Mutex
	next chan struct{} // closed at the next message
}

// coming is closed when the next message is there.
func (w *watch) coming() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

func (w *watch) arrived() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

// watch starts to watch topic, or joins those who do. The caller leaves it.
func (t *Topics) watch(ctx context.Context, topic string) (w *watch, leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout)
	defer cancel()
	w, first := t.watches.join(topic)
	if first {
		w.stop, w.err = t.watchNew(ctx, topic, w.arrived)
		close(w.started)
	}
	<-w.started // in bounded time: who was first has a deadline
	if w.err != nil {
		t.watches.leave(topic, w)
		return nil, nil, w.err
	}
	return w, func() { t.watches.leave(topic, w) }, nil
}

// join adds a user to the watch of topic. The first one is to start it.
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

// leave takes a user away. A watch that failed is forgotten at once, lest others
// join it.
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

// end ends a watch that nobody uses.
func (ws *watches) end(topic string, w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.users == 0 && ws.topics[topic] == w {
		delete(ws.topics, topic)
		go w.stop() // it asks the engine
	}
}

// watchNew has the engine tell of new messages, without their data.
func (t *Topics) watchNew(ctx context.Context, topic string, arrived func()) (stop func(), err error) {
	consumer, err := t.js.OrderedConsumer(ctx, StreamName(topic), jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy,
		HeadersOnly:   true,
	})
	if missing(err) {
		return nil, &TopicNotFoundError{Topic: topic}
	}
	if err != nil {
		return nil, engine.Unavailable("watch the topic", err)
	}
	consuming, err := consumer.Consume(func(jetstream.Msg) { arrived() })
	if err != nil {
		return nil, engine.Unavailable("watch the topic", err)
	}
	return consuming.Stop, nil
}

// wake has those who wait for topic in this process look.
func (t *Topics) wake(topic string) {
	t.watches.mu.Lock()
	defer t.watches.mu.Unlock()
	if w, ok := t.watches.topics[topic]; ok && w.users > 0 {
		w.arrived()
	}
}

// waitFor calls look until it is done, and again whenever topic has a new
// message, at the time that look asks for, and from time to time. It returns
// without an error when ctx ends. Engine calls are not to be given ctx.
func (t *Topics) waitFor(ctx context.Context, topic string, look func() (done bool, again time.Time, err error)) error {
	done, _, err := look()
	if done || err != nil || ctx.Err() != nil {
		return err
	}
	w, leave, err := t.watch(context.WithoutCancel(ctx), topic)
	if err != nil {
		return err
	}
	defer leave()
	for ctx.Err() == nil {
		coming := w.coming() // before look, lest a message between them is missed
		done, again, err := look()
		if done || err != nil {
			return err
		}
		pause := lookAgain
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
	return nil
}
