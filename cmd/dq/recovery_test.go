package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// crowd is the clients of a broker that is killed again and again.
type crowd struct {
	t       *testing.T
	api     *sdk.Client
	stopped atomic.Bool // the clients must end

	answered atomic.Int64 // calls that succeeded so far
	goal     atomic.Int64
	reached  chan struct{} // receives a value when answered reaches goal

	mu        sync.Mutex
	restarted sync.Cond
	restarts  int            // how often the broker was started again
	producers map[int64]bool // all ids of producers that were given out
}

func newCrowd(t *testing.T, api *sdk.Client) *crowd {
	c := &crowd{t: t, api: api, reached: make(chan struct{}, 1), producers: make(map[int64]bool)}
	c.restarted.L = &c.mu
	return c
}

// awaitRestart blocks until the broker was started again more than before times.
func (c *crowd) awaitRestart(before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.restarts <= before {
		c.restarted.Wait()
	}
}

// noteRestart lets the clients go on that wait for a restart.
func (c *crowd) noteRestart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restarts++
	c.restarted.Broadcast()
}

func (c *crowd) restartCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.restarts
}

// try makes one call and reports whether the broker answered it. If it did not, try returns once the broker runs again.
func (c *crowd) try(call func() error) (answered bool, err error) {
	before := c.restartCount()
	err = call()
	var refused *sdk.Error
	switch {
	case err == nil:
		if c.answered.Add(1) == c.goal.Load() {
			c.reached <- struct{}{}
		}
		return true, nil
	case errors.As(err, &refused) && refused.Status < 500:
		return true, err
	}

	c.awaitRestart(before)
	return false, err
}

// registerProducer registers a producer, however often the broker is killed, and checks that its id is new.
func (c *crowd) registerProducer(topic string) (id int64) {
	for {
		answered, err := c.try(func() (err error) {
			id, err = c.api.RegisterProducer(context.Background(), topic)
			return err
		})
		if !answered {
			continue
		}
		assert.NoError(c.t, err)

		c.mu.Lock()
		defer c.mu.Unlock()
		assert.False(c.t, c.producers[id], "producer id %d was given twice", id)
		c.producers[id] = true
		return id
	}
}

// producer produces messages to a topic, and knows what became of them.
type producer struct {
	number         int
	topic          string
	acked, unknown map[string]bool // messages
}

// run produces until the crowd is stopped.
func (p *producer) run(c *crowd) {
	id := c.registerProducer(p.topic)
	for n := 0; !c.stopped.Load(); n++ {
		message := fmt.Sprintf("%d-%d", p.number, n)
		answered, err := c.try(func() error { return c.api.Produce(context.Background(), p.topic, id, message) })
		if !answered {
			p.unknown[message] = true
			if n%3 == 0 {
				id = c.registerProducer(p.topic) // ids are given out while the broker is killed, too
			}
			continue
		}
		if !assert.NoError(c.t, err) {
			return
		}
		p.acked[message] = true
	}
}

// consumer consumes a topic, and knows what it got.
type consumer struct {
	number   int
	topic    string
	id       int64
	messages []string
	unknown  int // calls that were never answered: each may have taken a message
}

// run consumes until the crowd is stopped.
func (r *consumer) run(c *crowd) {
	for !c.stopped.Load() {
		var message string
		answered, err := c.try(func() (err error) {
			message, err = c.api.Consume(context.Background(), r.topic, r.id)
			return err
		})

		switch {
		case !answered:
			r.unknown++
		case err == nil:
			r.messages = append(r.messages, message)
		case !errors.Is(err, sdk.ErrEmpty):
			c.t.Errorf("consume: %v", err)
			return
		}
	}
}

// drain consumes what is left, and checks that it is as much as the broker says.
func (r *consumer) drain(t *testing.T, api *sdk.Client) {
	t.Helper()
	left, err := api.Size(t.Context(), r.topic, r.id)
	require.NoError(t, err)

	before := len(r.messages)
	for {
		message, err := api.Consume(t.Context(), r.topic, r.id)
		if errors.Is(err, sdk.ErrEmpty) {
			break
		}
		require.NoError(t, err)
		r.messages = append(r.messages, message)
	}
	assert.EqualValues(t, left, len(r.messages)-before, "size of consumer %d", r.number)
}

// check checks that the consumer got what producers sent to its topic: in order, once, and nothing else.
func (r *consumer) check(t *testing.T, producers []*producer) {
	t.Helper()
	seen := make(map[string]bool)
	last := make(map[string]int) // by producer
	for _, message := range r.messages {
		assert.False(t, seen[message], "consumer %d got %s twice", r.number, message)
		seen[message] = true

		from, number, _ := strings.Cut(message, "-")
		p, _ := strconv.Atoi(from)
		n, _ := strconv.Atoi(number)
		if !producers[p].acked[message] && !producers[p].unknown[message] {
			t.Errorf("consumer %d got %s, which was never sent", r.number, message)
		}
		if before, ok := last[from]; ok && before >= n {
			t.Errorf("consumer %d got %s after %d", r.number, message, before)
		}
		last[from] = n
	}

	missing := 0
	for _, p := range producers {
		if p.topic != r.topic {
			continue
		}
		for message := range p.acked {
			if !seen[message] {
				missing++
			}
		}
	}
	assert.LessOrEqual(t, missing, r.unknown,
		"consumer %d misses more acknowledged messages than its unanswered calls can have taken", r.number)
}

func TestRecovery_KillsLoseAndRepeatNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	const kills = 20
	topics := []string{"T1", "T2"}
	addr, dir := freeAddr(t), t.TempDir()
	broker := serve(t, addr, dir)
	api, err := sdk.New(addr, sdk.WithRetries(0))
	require.NoError(t, err)
	defer api.Close()
	producers, consumers := newClients(t, api, topics)

	c := newCrowd(t, api)
	var running sync.WaitGroup
	for _, p := range producers {
		running.Go(func() { p.run(c) })
	}
	for _, r := range consumers {
		running.Go(func() { r.run(c) })
	}
	for range kills {
		c.goal.Store(c.answered.Load() + 200 + rand.Int64N(800))
		<-c.reached
		broker.end(t, syscall.SIGKILL)
		broker = serve(t, addr, dir)
		c.noteRestart()
	}
	c.stopped.Store(true)
	c.noteRestart() // frees clients whose call failed on a connection to an earlier broker
	running.Wait()

	for _, r := range consumers {
		r.drain(t, api)
		r.check(t, producers)
	}
	checkIDs(t, api, topics, c.producers)
	total := 0
	for _, p := range producers {
		total += len(p.acked)
	}
	t.Logf("%d kills, %d messages acknowledged", kills, total)
}

// newClients creates topics, producers that are not registered yet, and consumers that are.
func newClients(t *testing.T, api *sdk.Client, topics []string) (producers []*producer, consumers []*consumer) {
	t.Helper()
	for _, topic := range topics {
		require.NoError(t, api.CreateTopic(t.Context(), topic))
	}

	for i := range 16 {
		producers = append(producers, &producer{
			number:  i,
			topic:   topics[i%len(topics)],
			acked:   make(map[string]bool),
			unknown: make(map[string]bool),
		})
	}
	for i := range 4 {
		topic := topics[i%len(topics)]
		id, err := api.RegisterConsumer(t.Context(), topic)
		require.NoError(t, err)
		consumers = append(consumers, &consumer{number: i, topic: topic, id: id})
	}
	return producers, consumers
}

// checkIDs checks that the next producer gets a greater id than all that were given out, and that no id was skipped.
func checkIDs(t *testing.T, api *sdk.Client, topics []string, given map[int64]bool) {
	t.Helper()
	last, err := api.RegisterProducer(t.Context(), topics[0])
	require.NoError(t, err)
	for id := range given {
		assert.Less(t, id, last)
	}
	for id := range last {
		err := api.Produce(t.Context(), topics[id%int64(len(topics))], id, "")
		assert.NotErrorIs(t, err, sdk.ErrProducerNotFound, "no id is skipped")
	}
}
