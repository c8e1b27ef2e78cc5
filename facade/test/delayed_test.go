package test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestDelayed_MessageComesWholeAndNotEarly(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		c := a.register("T")
		begin := time.Now()
		at := begin.Add(1500 * time.Millisecond).UTC().Truncate(time.Millisecond)
		tests := []struct {
			send func() response
			due  time.Time
			want message
		}{
			{
				send: func() response {
					return a.post(path("T", "messages"), object{
						"data": "delay", "delay": "700ms", "key": " k.\n", "content_type": "text/plain",
						"headers": object{"Status": "404", "h": "v"},
					})
				},
				due: begin.Add(700 * time.Millisecond),
				want: message{
					Data: new("delay"), Key: " k.\n", ContentType: "text/plain",
					Headers: map[string]string{"Status": "404", "h": "v"},
				},
			},
			{
				send: func() response {
					return a.post(path("T", "messages"), object{
						"data": "", "deliver_at": at.Format(time.RFC3339Nano), "headers": object{"Status": "404"},
					})
				},
				due:  at,
				want: message{Data: new(""), Headers: map[string]string{"Status": "404"}},
			},
			{
				send: func() response {
					return a.do(http.MethodPost, path("T", "messages"), everyByte,
						"Dq-Delay", "2s", "Dq-Key", "k", "Content-Type", "image/png", "Dq-Header-A", "b")
				},
				due: begin.Add(2 * time.Second),
				want: message{
					DataBase64: []byte(everyByte), Key: "k", ContentType: "image/png",
					Headers: map[string]string{"A": "b"},
				},
			},
		}

		for _, test := range tests {
			r := test.send().is(http.StatusAccepted).receipts()
			require.Len(t, r, 1)
			assert.Zero(t, r[0].Sequence)
			assert.False(t, r[0].DeliverAt.Before(test.due.Truncate(time.Microsecond)))
		}
		past := a.post(path("T", "messages"), object{"data": "past", "deliver_at": "2001-01-01T00:00:00Z"})

		assert.EqualValues(t, 1, past.is(http.StatusCreated).receipts()[0].Sequence, "a time in the past is now")
		assert.Equal(t, []string{"past"}, textsOf(c.fetch(within)))
		for i, test := range tests {
			m := c.fetch(within)
			require.Len(t, m, 1)
			assert.False(t, time.Now().Before(test.due), "it came early")
			assert.False(t, m[0].Time.Before(test.due))
			test.want.Sequence, test.want.Time = uint64(i+2), m[0].Time
			assert.Equal(t, test.want, m[0])
		}
		assert.Empty(t, c.drain())
	})
}

func TestDelayed_MessageSurvivesARestartAndComesOnce(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config(t.TempDir())
	b := brokertest.Start(t, cfg)
	a := newAPI(t, b.URL())
	a.createTopic("T")
	c := a.register("T")
	begin := time.Now()
	r := a.post(path("T", "messages"), []object{
		{"data": "0"},
		{"data": "1", "delay": "3s", "idempotency_key": "k", "key": "x"},
		{"data": "2", "delay": "100ms"},
	}).is(http.StatusCreated).receipts()
	assert.EqualValues(t, 1, r[0].Sequence)
	assert.Zero(t, r[1].Sequence)
	again := a.produce("T", object{"data": "1", "delay": "3s", "idempotency_key": "k"})
	assert.True(t, again[0].Duplicate, "a retry says that it waits already")

	require.NoError(t, b.Stop(context.Background()))
	a = startAPI(t, cfg)
	c = c.via(a)

	var got []message
	for len(got) < 3 {
		next := c.fetch(within)
		require.NotEmpty(t, next)
		got = append(got, next...)
	}
	assert.Equal(t, []string{"0", "2", "1"}, textsOf(got))
	assert.False(t, time.Since(begin) < 3*time.Second, "it came early")
	assert.Equal(t, "x", got[2].Key)
	assert.Empty(t, c.drain())
	assert.True(t, a.produce("T", object{"data": "1", "idempotency_key": "k"})[0].Duplicate)
}

func TestDelayed_MessageGoesWithItsTopic(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("other")
	other := a.register("other")
	a.produce("T", object{"data": "old", "delay": "1s", "idempotency_key": "k"})

	a.del(path("T")).is(http.StatusNoContent)
	a.createTopic("T")
	c := a.register("T")
	a.produce("T", object{"data": "new", "delay": "1s", "idempotency_key": "k"})
	a.produce("other", object{"data": "later", "delay": "2s"})

	assert.Equal(t, []string{"later"}, textsOf(other.fetch(within)), "by then the old message was due")
	assert.Equal(t, []string{"new"}, textsOf(c.fetch("limit=10", within)))
	a.post(path("none", "messages"), object{"data": "x", "delay": "1s"}).refuses(http.StatusNotFound, "topic_not_found")
}
