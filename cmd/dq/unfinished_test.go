package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// topics calls a broker under /v1/topics.
type topics struct {
	t   *testing.T
	url string
}

// call makes a call, with body as JSON if it is not nil. It returns the status, 0 if the broker did not answer, and
// decodes the answer into out if that is not nil.
func (c topics) call(method, path string, body, out any) (status int) {
	content, err := json.Marshal(body)
	require.NoError(c.t, err)
	if body == nil {
		content = nil
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(content))
	require.NoError(c.t, err)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}

	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0
	}
	if out != nil && answer.StatusCode < http.StatusMultipleChoices {
		require.NoError(c.t, json.Unmarshal(read, out))
	}
	return answer.StatusCode
}

// registered is a consumer as the broker describes it.
type registered struct {
	ID   int64
	Name string
}

// register registers a consumer of topic under a name, "" for none.
func (c topics) register(topic, name string) (r registered, status int) {
	status = c.call(http.MethodPost, "/"+topic+"/consumers", map[string]any{"name": name}, &r)
	return r, status
}

// consumers returns all consumers of topic.
func (c topics) consumers(topic string) []registered {
	var page struct{ Consumers []registered }
	require.Equal(c.t, http.StatusOK, c.call(http.MethodGet, "/"+topic+"/consumers?limit=1000", nil, &page))
	return page.Consumers
}

// checkWhole checks that a topic whose deletion was killed has all of its consumers, or is gone with all of them.
func (c topics) checkWhole(topic string, all []registered) (deleted bool) {
	c.t.Helper()
	if c.call(http.MethodGet, "/"+topic, nil, nil) == http.StatusOK {
		assert.Equal(c.t, all, c.consumers(topic), "a topic that is there has all its consumers")
		return false
	}

	require.Equal(c.t, http.StatusCreated, c.call(http.MethodPut, "/"+topic, nil, nil))
	assert.Empty(c.t, c.consumers(topic))
	for _, r := range all {
		for _, label := range []string{r.Name, strconv.FormatInt(r.ID, 10)} {
			if label != "" {
				assert.Equal(c.t, http.StatusNotFound, c.call(http.MethodGet, "/"+topic+"/consumers/"+label, nil, nil), label)
			}
		}
	}
	return true
}

// checkNames checks that each consumer of topic is found by its name, and that no two have the same.
func (c topics) checkNames(topic string) {
	c.t.Helper()
	for _, r := range c.consumers(topic) {
		var byName, byID registered
		assert.Equal(c.t, http.StatusOK, c.call(http.MethodGet, "/"+topic+"/consumers/"+r.Name, nil, &byName), r.Name)
		assert.Equal(c.t, http.StatusOK, c.call(http.MethodGet, fmt.Sprintf("/%s/consumers/%d", topic, r.ID), nil, &byID))
		assert.Equal(c.t, r, byName, "no other consumer has the name")
		assert.Equal(c.t, r, byID)
	}
}

func TestRecovery_KilledOperationsAreDoneOrNot(t *testing.T) {
	t.Parallel()
	const kills, consumers = 8, 60
	addr, dir := freeAddr(t), t.TempDir()
	broker := serve(t, addr, dir)
	c := topics{t: t, url: "http://" + addr + "/v1/topics"}
	require.Equal(t, http.StatusCreated, c.call(http.MethodPut, "/names", nil, nil))
	deleted := 0

	for round := range kills {
		topic := fmt.Sprint("T", round)
		require.Equal(t, http.StatusCreated, c.call(http.MethodPut, "/"+topic, nil, nil))
		var all []registered
		for i := range consumers {
			name := ""
			if i%2 == 0 {
				name = fmt.Sprint("n", i)
			}
			r, status := c.register(topic, name)
			require.Equal(t, http.StatusCreated, status)
			all = append(all, r)
		}

		var running sync.WaitGroup
		var ended atomic.Bool
		for i := range 4 {
			name := fmt.Sprint("n", i/2) // two clients for each
			running.Go(func() {
				for !ended.Load() {
					c.register("names", name)
					c.call(http.MethodDelete, "/names/consumers/"+name, nil, nil)
				}
			})
		}
		running.Go(func() { c.call(http.MethodDelete, "/"+topic, nil, nil) })
		<-time.After(rand.N(40 * time.Millisecond)) // in the midst of it, or not
		broker.end(t, syscall.SIGKILL)
		ended.Store(true)
		running.Wait()
		broker = serve(t, addr, dir)

		if c.checkWhole(topic, all) {
			deleted++
		}
		c.checkNames("names")
	}
	t.Logf("%d kills, %d deletions took effect", kills, deleted)
}
