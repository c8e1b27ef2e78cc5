package test

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/require"
)

// consumerState is a consumer as the broker describes it.
type consumerState struct {
	ID              int64
	Name            string
	Topic           string
	Key             string
	Mode            string
	Lease           string
	MaxInFlight     int    `json:"max_in_flight"`
	MaxDeliveries   int    `json:"max_deliveries"`
	DeadLetterTopic string `json:"dead_letter_topic"`
	Position        uint64
	Lag             uint64
	InFlight        uint64 `json:"in_flight"`
	Size            uint64
	PausedUntil     time.Time `json:"paused_until"`
	DroppedUnread   *uint64   `json:"dropped_unread"`
}

// consumer calls one consumer of a topic.
type consumer struct {
	consumerState // as it was when the consumer was registered

	api  api
	path string
}

// register registers a consumer, with the fields of spec if there is one.
func (a api) register(topic string, spec ...object) consumer {
	a.t.Helper()

	var state consumerState
	a.post(path(topic, "consumers"), firstOf(spec)).is(http.StatusCreated).into(&state)

	return consumer{consumerState: state, api: a, path: path(topic, "consumers", state.ID)}
}

// consumer returns a client of a consumer that is known by its name or id. It makes no call.
func (a api) consumer(topic string, label any) consumer {
	return consumer{api: a, path: path(topic, "consumers", label)}
}

// via returns a client of the same consumer, which calls another broker.
func (c consumer) via(a api) consumer {
	c.api = a
	return c
}

// dropped returns how many messages were removed before the consumer had read them.
func (c consumer) dropped() uint64 {
	c.api.t.Helper()
	dropped := c.describe().DroppedUnread
	require.NotNil(c.api.t, dropped)
	return *dropped
}

// describe returns what the consumer is like now.
func (c consumer) describe() (out consumerState) {
	c.api.t.Helper()
	c.api.get(c.path).is(http.StatusOK).into(&out)
	return out
}

// post calls an operation of the consumer, such as "fetch". Body is nil or a value to send as JSON.
func (c consumer) post(operation string, body any) response {
	c.api.t.Helper()
	return c.api.post(c.path+"/"+operation, body)
}

// fetch gets messages. Query has parameters such as "limit=10"; without a limit, it gets one message at most.
func (c consumer) fetch(query ...string) []message {
	c.api.t.Helper()
	return c.post(withQuery("fetch", query), nil).is(http.StatusOK).messages()
}

// drain gets all messages that the consumer may have now, as texts.
func (c consumer) drain() []string {
	c.api.t.Helper()
	return textsOf(c.fetch("limit=10000"))
}

// ack acknowledges leased messages.
func (c consumer) ack(tokens []string) response {
	c.api.t.Helper()
	return c.post("ack", object{"tokens": tokens})
}

// ackUpTo acknowledges the leased message of token and all before it.
func (c consumer) ackUpTo(token string) response {
	c.api.t.Helper()
	return c.post("ack", object{"up_to": token})
}

// nack gives leased messages back. A delay of 0 is not sent.
func (c consumer) nack(tokens []string, delay time.Duration) response {
	c.api.t.Helper()
	if delay == 0 {
		return c.post("nack", object{"tokens": tokens})
	}
	return c.post("nack", object{"tokens": tokens, "delay": delay.String()})
}

// extend makes leases last for lease from now. A lease of 0 is not sent.
func (c consumer) extend(tokens []string, lease time.Duration) response {
	c.api.t.Helper()
	if lease == 0 {
		return c.post("extend", object{"tokens": tokens})
	}
	return c.post("extend", object{"tokens": tokens, "lease": lease.String()})
}

// seek moves the consumer to a position, which is a value of JSON.
func (c consumer) seek(to any) (out consumerState) {
	c.api.t.Helper()
	c.post("seek", object{"to": to}).is(http.StatusOK).into(&out)
	return out
}

// pause pauses the consumer.
func (c consumer) pause(d time.Duration) (out consumerState) {
	c.api.t.Helper()
	c.post("pause", object{"for": d.String()}).is(http.StatusOK).into(&out)
	return out
}

// resume ends a pause.
func (c consumer) resume() (out consumerState) {
	c.api.t.Helper()
	c.post("resume", nil).is(http.StatusOK).into(&out)
	return out
}

// del deletes the consumer.
func (c consumer) del() response {
	c.api.t.Helper()
	return c.api.del(c.path)
}
