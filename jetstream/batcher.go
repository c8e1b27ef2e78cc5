package jetstream

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxRiders is the most that go together.
	maxRiders = 1000

	// topicLeaders is how many groups of a topic are under way at once: others are
	// sent while the engine works on the first.
	topicLeaders = 3
)

// A lane gathers what is published to one stream at the same time. While the
// engine works on some, those that come wait, and then go together: many cost
// little more than one. One alone goes at once.
type lane[T any] struct {
	publish    func(ctx context.Context, cargo ...T) []publishAnswer // an answer each
	timeout    time.Duration                                         // of a group
	maxLeaders int                                                   // groups that are under way at once

	mu      sync.Mutex
	leaders int // who send
	waiting []*rider[T]
}

// rider is somebody whose cargo waits in a lane.
type rider[T any] struct {
	cargo  T
	woken  chan struct{} // gets one when answer is there, or it is to lead in place of who led
	lead   bool
	answer publishAnswer
}

// ride publishes cargo, which must not change any more.
func (l *lane[T]) ride(ctx context.Context, cargo T) publishAnswer {
	r := &rider[T]{cargo: cargo, woken: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.leaders == l.maxLeaders {
		l.waiting = append(l.waiting, r)
		l.mu.Unlock()
		<-r.woken // in bounded time: whoever leads has a deadline
		if !r.lead {
			return r.answer
		}
	} else {
		l.leaders++
		l.mu.Unlock()
	}
	runtime.Gosched() // those who are about to come may come along
	l.mu.Lock()
	riders := append([]*rider[T]{r}, l.take(maxRiders-1)...)
	l.mu.Unlock()
	l.lead(ctx, riders)
	return r.answer
}

// take takes at most n of those who wait.
func (l *lane[T]) take(n int) []*rider[T] {
	n = min(n, len(l.waiting))
	taken := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	return taken
}

// lead publishes the cargo of riders, the first of whom is the caller, and leaves
// the lead to one who waits.
func (l *lane[T]) lead(ctx context.Context, riders []*rider[T]) {
	cargo := make([]T, len(riders))
	for i, r := range riders {
		cargo[i] = r.cargo
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	answers := l.publish(ctx, cargo...)
	cancel()
	l.mu.Lock()
	if next := l.take(1); len(next) == 1 {
		next[0].lead = true
		next[0].woken <- struct{}{}
	} else {
		l.leaders--
	}
	l.mu.Unlock()
	riders[0].answer = answers[0]
	for i, r := range riders[1:] {
		r.answer = answers[i+1]
		r.woken <- struct{}{}
	}
}

// lane is the lane of a topic.
func (t *Topics) lane(topic string) *lane[*nats.Msg] {
	if l, ok := t.lanes.Load(topic); ok {
		return l.(*lane[*nats.Msg])
	}
	l, _ := t.lanes.LoadOrStore(topic, t.newLane())
	return l.(*lane[*nats.Msg])
}

func (t *Topics) newLane() *lane[*nats.Msg] {
	return &lane[*nats.Msg]{publish: t.publisher.publish, timeout: t.opts.CallTimeout, maxLeaders: topicLeaders}
}
