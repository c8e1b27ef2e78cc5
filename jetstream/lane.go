package jetstream

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// engineTimeout bounds each engine call that is made for several clients at
// once, or for one who waits.
const engineTimeout = 5 * time.Second

// A lane gathers the messages that are published to one topic at the same time.
// While the engine works on some, those that come wait, and then go together:
// many messages cost little more than one. One alone goes at once.
type lane struct {
	publish func(ctx context.Context, data [][]byte) []publishAnswer

	mu      sync.Mutex
	leading bool // somebody sends
	waiting []*rider
}

// rider is somebody whose message waits in a lane.
type rider struct {
	data   []byte
	woken  chan struct{} // closed or sent to when answer is there, or it is to lead
	lead   bool
	answer publishAnswer
}

// ride publishes data, which must not change any more.
func (l *lane) ride(ctx context.Context, data []byte) publishAnswer {
	r := &rider{data: data, woken: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.leading {
		l.waiting = append(l.waiting, r)
		l.mu.Unlock()
		<-r.woken // in bounded time: whoever leads has a deadline
		if !r.lead {
			return r.answer
		}
		l.mu.Lock()
	}
	l.leading = true
	riders := append([]*rider{r}, l.take(maxBatch-1)...)
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
	data := make([][]byte, len(riders))
	for i, r := range riders {
		data[i] = r.data
	}
	answers := l.publish(ctx, data)
	l.mu.Lock()
	if next := l.take(1); len(next) == 1 {
		next[0].lead = true
		next[0].woken <- struct{}{}
	} else {
		l.leading = false
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
	subject := Subject(topic)
	l, _ := t.lanes.LoadOrStore(topic, &lane{publish: func(ctx context.Context, data [][]byte) []publishAnswer {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTimeout)
		defer cancel()
		call := t.publisher.begin(len(data), len(data) > 1)
		for i := range data {
			t.publisher.send(call, i, &nats.Msg{Subject: subject, Data: data[i]})
		}
		return t.publisher.wait(ctx, call)
	}})
	return l.(*lane)
}
