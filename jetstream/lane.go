package jetstream

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// engineTimeout bounds each engine call that is made for several clients at
// once, or for one who waits.
const engineTimeout = 5 * time.Second

const (
	// maxRiders is the most messages that go together.
	maxRiders = 1000

	// maxLeaders is how many groups are under way at once: the second is sent
	// while the engine works on the first.
	maxLeaders = 2
)

// A lane gathers the messages that are published to one stream at the same time.
// While the engine works on some, those that come wait, and then go together:
// many messages cost little more than one. One alone goes at once.
type lane struct {
	publish func(ctx context.Context, msgs ...*nats.Msg) []publishAnswer

	mu      sync.Mutex
	leaders int // who send
	waiting []*rider
}

// rider is somebody whose message waits in a lane.
type rider struct {
	msg    *nats.Msg
	woken  chan struct{} // gets one when answer is there, or it is to lead in place of who led
	lead   bool
	answer publishAnswer
}

// ride publishes m, which must not change any more.
func (l *lane) ride(ctx context.Context, m *nats.Msg) publishAnswer {
	r := &rider{msg: m, woken: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.leaders == maxLeaders {
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
	riders := append([]*rider{r}, l.take(maxRiders-1)...)
	l.mu.Unlock()
	l.lead(ctx, riders)
	return r.answer
}

// take takes at most n of those who wait.
func (l *lane) take(n int) []*rider {
	n = min(n, len(l.waiting))
	taken := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	return taken
}

// lead publishes the messages of riders, the first of which is the caller's, and
// leaves the lead to one who waits.
func (l *lane) lead(ctx context.Context, riders []*rider) {
	msgs := make([]*nats.Msg, len(riders))
	for i, r := range riders {
		msgs[i] = r.msg
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTimeout)
	answers := l.publish(ctx, msgs...)
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
func (t *Topics) lane(topic string) *lane {
	if l, ok := t.lanes.Load(topic); ok {
		return l.(*lane)
	}
	l, _ := t.lanes.LoadOrStore(topic, &lane{publish: t.publisher.publish})
	return l.(*lane)
}
