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
	api      *sdk.Client
	answered atomic.Int64 // calls answered with success so far
	goal     atomic.Int64
	reached  chan struct{} // gets a token when answered is goal

	mu   sync.Mutex
	cond *sync.Cond
	up   int // how often the broker was started again
}

// awaitStart blocks until the broker was started more than before times.
func (c *crowd) awaitStart(before int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.up <= before {
		c.cond.Wait()
	}
}

func (c *crowd) started() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up++
	c.cond.Broadcast()
}

func (c *crowd) state() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// try makes one call and reports whether the broker answered it. If it did not,
// try returns once the broker is back.
func (c *crowd) try(call func() error) (answered bool, err error) {
	before := c.state()
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
	c.awaitStart(before)
	return false, err
}

// produced is what one producer knows of its messages.
type produced struct {
	acked, unknown map[string]bool
}

// consumed is what one consumer got.
type consumed struct {
	messages []string
	unknown  int // calls that were never answered: each may have taken a message
}

func TestNothingAnsweredIsLostOrRepeatedByKills(t *testing.T) {
	t.Parallel()
	const producers, consumers, kills = 16, 4, 20
	topics := []string{"T1", "T2"}
	addr, dir := freeAddr(t), t.TempDir()
	broker := serve(t, addr, dir)
	api, err := sdk.New(addr, sdk.WithRetries(0))
	require.NoError(t, err)
	defer api.Close()
	ctx := context.Background()
	c := &crowd{api: api, reached: make(chan struct{}, 1)}
	c.cond = sync.NewCond(&c.mu)

	for _, topic := range topics {
		require.NoError(t, api.CreateTopic(ctx, topic))
	}
	readers := make([]*consumed, consumers)
	readerIDs := make([]int64, consumers)
	for i := range readers {
		readers[i] = &consumed{}
		readerIDs[i], err = api.RegisterConsumer(ctx, topics[i%2])
		require.NoError(t, err)
	}

	var ids struct {
		sync.Mutex
		given map[int64]bool
	}
	ids.given = make(map[int64]bool)
	var stopped atomic.Bool
	var producing, consuming sync.WaitGroup
	writers := make([]*produced, producers)
	for i := range writers {
		w := &produced{acked: make(map[string]bool), unknown: make(map[string]bool)}
		writers[i] = w
		topic := topics[i%2]
		register := func() (id int64) {
			for {
				answered, err := c.try(func() (err error) { id, err = api.RegisterProducer(ctx, topic); return err })
				if answered {
					require.NoError(t, err)
					ids.Lock()
					assert.False(t, ids.given[id], "producer id %d was given twice", id)
					ids.given[id] = true
					ids.Unlock()
					return id
				}
			}
		}
		producing.Go(func() {
			id := register()
			for n := 0; !stopped.Load(); n++ {
				message := fmt.Sprintf("%d-%d", i, n)
				answered, err := c.try(func() error { return api.Produce(ctx, topic, id, message) })
				if !answered {
					w.unknown[message] = true
					if n%3 == 0 {
						id = register() // ids are given while the broker is killed, too
					}
					continue
				}
				if !assert.NoError(t, err) {
					return
				}
				w.acked[message] = true
			}
		})
	}
	for i, r := range readers {
		consuming.Go(func() {
			for !stopped.Load() {
				var message string
				answered, err := c.try(func() (err error) {
					message, err = api.Consume(ctx, topics[i%2], readerIDs[i])
					return err
				})
				switch {
				case !answered:
					r.unknown++
				case err == nil:
					r.messages = append(r.messages, message)
				case !errors.Is(err, sdk.ErrEmpty):
					t.Errorf("consume: %v", err)
					return
				}
			}
		})
	}

	for range kills {
		c.goal.Store(c.answered.Load() + 200 + rand.Int64N(800))
		<-c.reached
		broker.end(t, syscall.SIGKILL)
		broker = serve(t, addr, dir)
		c.started()
	}
	stopped.Store(true)
	c.started() // frees those whose call failed on a connection of an earlier broker
	producing.Wait()
	consuming.Wait()

	for i, r := range readers {
		left, err := api.Size(ctx, topics[i%2], readerIDs[i])
		require.NoError(t, err)
		before := len(r.messages)
		for {
			message, err := api.Consume(ctx, topics[i%2], readerIDs[i])
			if errors.Is(err, sdk.ErrEmpty) {
				break
			}
			require.NoError(t, err)
			r.messages = append(r.messages, message)
		}
		assert.EqualValues(t, left, len(r.messages)-before, "size of consumer %d", i)
		checkReader(t, i, r, writers)
	}
	total := 0
	for _, w := range writers {
		total += len(w.acked)
	}
	t.Logf("%d kills, %d messages acknowledged", kills, total)

	last, err := api.RegisterProducer(ctx, topics[0])
	require.NoError(t, err)
	for id := range ids.given {
		assert.Less(t, id, last)
	}
	for id := range last {
		assert.NotErrorIs(t, api.Produce(ctx, topics[id%2], id, ""), sdk.ErrProducerNotFound, "ids are dense")
	}
}

// checkReader checks what reader number i got of what writers sent to its topic.
func checkReader(t *testing.T, i int, r *consumed, writers []*produced) {
	t.Helper()
	seen := make(map[string]bool)
	last := make(map[string]int) // by producer
	for _, message := range r.messages {
		assert.False(t, seen[message], "consumer %d got %s twice", i, message)
		seen[message] = true
		writer, number, _ := strings.Cut(message, "-")
		w, _ := strconv.Atoi(writer)
		n, _ := strconv.Atoi(number)
		if !writers[w].acked[message] && !writers[w].unknown[message] {
			t.Errorf("consumer %d got %s, which was never sent", i, message)
		}
		if before, ok := last[writer]; ok && before >= n {
			t.Errorf("consumer %d got %s after %d", i, message, before)
		}
		last[writer] = n
	}
	missing := 0
	for n, w := range writers {
		if n%2 != i%2 {
			continue
		}
		for message := range w.acked {
			if !seen[message] {
				missing++
			}
		}
	}
	assert.LessOrEqual(t, missing, r.unknown, "consumer %d misses more acknowledged messages than calls of it went unanswered", i)
}
