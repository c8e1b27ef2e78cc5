package traffic

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dq/cmd/dq/verify/history"
)

// roundMessages is how many messages a round sends unless the options say it.
const roundMessages = 400

// round is the traffic of one scene of a round on a topic of its own, by workers that
// run concurrently.
type round struct {
	*Client
	ctx   context.Context // the producers stop when it ends
	topic string
	id    string // what the names of all its messages begin with

	unsent     atomic.Int64  // messages that are left to send; negative at the end
	highest    atomic.Uint64 // highest sequence that anybody saw
	producedAt atomic.Int64  // time after the last message was produced; 0 before
	gaveUp     atomic.Bool   // a goal was not reached, so nothing more is tried

	mu        sync.Mutex
	consumers []int64 // ids of consumers whose size is asked for
}

// RunRound makes one round of traffic: all scenes at the same time, each on topics
// of its own whose names begin with topic. It creates the topics, and deletes them
// at the end. Id distinguishes the messages of the round.
//
// It returns the topics. Their histories in the recorder are complete then.
func (c *Client) RunRound(ctx context.Context, topic, id string) (topics []string) {
	var playing sync.WaitGroup
	for _, s := range scenes {
		if len(c.opts.Scenes) > 0 && !slices.Contains(c.opts.Scenes, s.name) {
			continue
		}
		r := &round{Client: c, ctx: ctx, topic: topic + s.suffix, id: id}
		own := []string{r.topic}
		for _, suffix := range s.others {
			own = append(own, r.topic+suffix)
		}
		topics = append(topics, own...)
		playing.Go(func() { r.play(s, own) })
	}
	playing.Wait()

	for i, topic := range topics {
		op := c.mark(history.OpEnd, topic, "")
		op.Final = i == len(topics)-1
		c.rec.Add(op)
	}
	return topics
}

// mark returns an operation that is no call.
func (c *Client) mark(kind, topic, name string) *history.Op {
	now := c.rec.Now()
	return &history.Op{Kind: kind, Topic: topic, Name: name, Call: now, Return: now, Outcome: history.OK}
}

// play plays a scene, and deletes its topics.
func (r *round) play(s scene, topics []string) {
	for _, topic := range topics {
		r.rec.Add(r.mark(history.OpScene, topic, s.name))
	}

	s.play(r)
	if r.opts.Keep {
		return
	}
	w := r.worker("deleter")
	for _, topic := range topics {
		w.retry("the topic is deleted", func() *history.Op { return w.topicCall(history.OpDeleteTopic, topic) })
	}
}

// playLog is the traffic of the scene "log": producers and consumers run until ctx
// ends or all messages are sent, the consumers finish, and the topic is read once
// more.
func playLog(r *round) {
	r.unsent.Store(roundMessages)
	if r.opts.Messages > 0 {
		r.unsent.Store(int64(r.opts.Messages))
	}

	consumers := r.setUp()
	r.run(consumers)
	r.worker("replay").replay()
}

const churnSuffix = "-x"

// churnTopic returns the topic that workers create and delete again and again.
func (r *round) churnTopic() string { return r.topic + churnSuffix }

func (r *round) worker(name string) *worker {
	return &worker{round: r, topic: r.topic, name: name, answeredAt: time.Now()}
}

// setUp creates the topic and the consumers. It returns what each consumer does
// from then on.
func (r *round) setUp() (consumers []func()) {
	var topic sync.WaitGroup
	for i := range 3 {
		topic.Go(func() { r.worker(fmt.Sprintf("maker%d", i)).createTopic(i) })
	}
	topic.Wait()

	var setUp sync.WaitGroup
	consumers = make([]func(), len(consumerKinds))
	for i, create := range consumerKinds {
		setUp.Go(func() { consumers[i] = create(r) })
	}
	setUp.Wait()
	return consumers
}

// createTopic creates the topic of the round, as other workers do at the same
// time.
func (w *worker) createTopic(i int) {
	kind := history.OpCreateTopic
	if i%2 == 1 {
		kind = history.OpEnsureTopic
	}
	w.retry("the topic is created", func() *history.Op { return w.topicCall(kind, w.topic) })
}

// run runs all workers, and returns when the consumers have received everything.
func (r *round) run(consumers []func()) {
	var others, producing sync.WaitGroup
	for _, consume := range consumers {
		others.Go(consume)
	}
	for _, work := range bystanders {
		others.Go(func() { work(r) })
	}
	for _, produce := range producers {
		producing.Go(func() { produce(r) })
	}

	producing.Wait()
	r.worker(endWorker).produceEnd()
	r.producedAt.Store(r.rec.Now())
	others.Wait()
}

// reserve reports whether a producer is to send n more messages, and counts them
// as sent.
func (r *round) reserve(n int) bool {
	return r.ctx.Err() == nil && !r.gaveUp.Load() && r.unsent.Add(int64(-n)) >= 0
}

// producing reports whether more messages will be produced.
func (r *round) producing() bool { return r.producedAt.Load() == 0 }

// timeSinceProduced returns how long ago the last message was produced, 0 while
// more will be.
func (r *round) timeSinceProduced() time.Duration {
	if r.producing() {
		return 0
	}
	return time.Duration(r.rec.Now() - r.producedAt.Load())
}

// calledAtEnd reports whether op was called after the last message was produced.
func (r *round) calledAtEnd(op *history.Op) bool {
	return !r.producing() && op.Call > r.producedAt.Load()
}

// noteSequences raises the highest sequence to those of the messages.
func (r *round) noteSequences(messages []history.Message) {
	for _, m := range messages {
		for {
			highest := r.highest.Load()
			if m.Sequence <= highest || r.highest.CompareAndSwap(highest, m.Sequence) {
				break
			}
		}
	}
}

func (r *round) addConsumer(id int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.consumers = append(r.consumers, id)
}

// replayLimit is how many messages one call of the replay asks for.
const replayLimit = 1000

// replay reads all messages of the topic.
func (w *worker) replay() {
	for from := uint64(1); ; {
		op, succeeded := w.retry("the topic is read to its end", func() *history.Op {
			return w.browse(browseOptions{from: from, limit: replayLimit, final: true})
		})
		if !succeeded || len(op.Got) == 0 {
			return
		}
		from = op.Got[len(op.Got)-1].Sequence + 1
	}
}
