package traffic

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"dq/cmd/dq/verify/history"
)

// fields are the fields of a JSON object that is sent.
type fields map[string]any

// The values of [history.Op.Mode].
const (
	modeAuto   = "auto"
	modeLease  = "lease"
	modeStream = "stream" // mode auto, consumed with streams
)

// topicPath returns the path of a topic or of something in it.
func topicPath(topic string, parts ...string) string {
	path := "/v1/topics/" + url.PathEscape(topic)
	for _, part := range parts {
		path += "/" + part
	}
	return path
}

func (w *worker) consumerPath(id int64, call string) string {
	return topicPath(w.topic, "consumers", strconv.FormatInt(id, 10), call)
}

// classicQuery returns the query with which the classic API names a consumer.
func classicQuery(topic string, id int64) string {
	return "?" + url.Values{"topic": {topic}, "consumer_id": {strconv.FormatInt(id, 10)}}.Encode()
}

// topicCall calls an operation on a topic as a whole, of the given kind.
func (w *worker) topicCall(kind, topic string) *history.Op {
	op := w.newOp(kind)
	op.Topic = topic

	r := request{path: topicPath(topic)}
	switch kind {
	case history.OpCreateTopic:
		r = request{method: http.MethodPost, path: "/topics", body: fields{"topic_name": topic}}
	case history.OpEnsureTopic:
		r.method = http.MethodPut
	case history.OpDescribeTopic:
		r.method = http.MethodGet
	case history.OpDeleteTopic:
		r.method = http.MethodDelete
	}
	return w.do(op, r)
}

func (w *worker) registerProducer() *history.Op {
	return w.do(w.newOp(history.OpRegisterProducer), request{
		method: http.MethodPost, path: "/producer/register",
		body: fields{"topic": w.topic}, decode: decodeProducer,
	})
}

func (w *worker) registerConsumer() *history.Op {
	op := w.newOp(history.OpRegisterConsumer)
	op.Mode = modeAuto
	return w.do(op, request{
		method: http.MethodPost, path: "/consumer/register",
		body: fields{"topic": w.topic}, decode: decodeClassicConsumer,
	})
}

// consumerSpec says which consumer is created.
type consumerSpec struct {
	name  string // "" for none
	mode  string
	lease time.Duration // of mode lease
	first bool          // it starts at the first message rather than at new ones
}

func (w *worker) createConsumer(spec consumerSpec) *history.Op {
	op := w.newOp(history.OpCreateConsumer)
	op.Name, op.Mode, op.Lease, op.First = spec.name, spec.mode, spec.lease, spec.first

	body := fields{"mode": modeAuto}
	if spec.name != "" {
		body["name"] = spec.name
	}
	if spec.mode == modeLease {
		// More in flight than a round has messages, so that an empty answer means
		// that nothing is left to deliver.
		body["mode"], body["lease"], body["max_in_flight"] = modeLease, spec.lease.String(), 10_000
	}
	if spec.first {
		body["start"] = "first"
	}
	return w.do(op, request{
		method: http.MethodPost, path: topicPath(w.topic, "consumers"),
		body: body, decode: decodeNewConsumer,
	})
}

func (w *worker) describeConsumer(name string) *history.Op {
	op := w.newOp(history.OpDescribeConsumer)
	op.Name = name
	return w.do(op, request{
		method: http.MethodGet, path: topicPath(w.topic, "consumers", name), decode: decodeConsumer,
	})
}

// produceRequest returns the classic request that sends the message with that name.
func produceRequest(topic string, producer int64, name string) request {
	return request{
		method: http.MethodPost, path: "/producer/produce",
		body: fields{"topic": topic, "producer_id": producer, "message": history.Payload(name)},
	}
}

func (w *worker) produce(producer int64, name string) *history.Op {
	op := w.newOp(history.OpProduce)
	op.ID, op.Data = producer, []string{name}
	return w.do(op, produceRequest(w.topic, producer, name))
}

// append appends messages as one batch. With an idempotency key, which may be "",
// the call can be repeated without storing them twice.
func (w *worker) append(names []string, key string, atomic bool) *history.Op {
	op := w.newOp(history.OpAppend)
	op.Data, op.Key, op.Atomic = names, key, atomic

	batch := make([]fields, len(names))
	for i, name := range names {
		batch[i] = fields{"data": history.Payload(name)}
	}
	r := request{method: http.MethodPost, path: topicPath(w.topic, "messages"), body: batch, decode: decodeReceipts}
	if atomic {
		r.path += "?atomic=true"
	}
	if key != "" {
		r.headers = map[string]string{"Idempotency-Key": key}
	}
	return w.do(op, r)
}

func (w *worker) consume(id int64) *history.Op {
	op := w.newOp(history.OpConsume)
	op.ID, op.Limit = id, 1
	return w.do(op, request{
		method: http.MethodGet, path: "/consumer/consume" + classicQuery(w.topic, id), decode: decodeClassicMessage,
	})
}

func (w *worker) size(id int64) *history.Op {
	op := w.newOp(history.OpSize)
	op.ID = id
	return w.do(op, request{method: http.MethodGet, path: "/size" + classicQuery(w.topic, id), decode: decodeSize})
}

// fetchLimit is the most messages that any fetch asks for.
const fetchLimit = 8

func (w *worker) fetch(id int64, wait time.Duration) *history.Op {
	op := w.newOp(history.OpFetch)
	op.ID, op.Limit = id, fetchLimit
	return w.do(op, request{
		method: http.MethodPost,
		path:   fmt.Sprintf("%s?limit=%d&wait=%s", w.consumerPath(id, "fetch"), fetchLimit, wait),
		wait:   wait,
		decode: decodeMessages,
	})
}

// leaseCall acknowledges, gives back or extends leases; kind says which.
func (w *worker) leaseCall(kind string, id int64, tokens []string) {
	op := w.newOp(kind)
	op.ID, op.Tokens = id, tokens
	w.do(op, request{method: http.MethodPost, path: w.consumerPath(id, kind), body: fields{"tokens": tokens}})
}

// browse reads up to limit messages from a sequence on. Final marks the calls of
// the replay at the end of a round.
func (w *worker) browse(from uint64, limit int, final bool) *history.Op {
	op := w.newOp(history.OpBrowse)
	op.From, op.Limit, op.Final = from, limit, final
	return w.do(op, request{
		method: http.MethodGet, path: fmt.Sprintf("%s?from=%d&limit=%d", topicPath(w.topic, "messages"), from, limit),
		decode: decodeMessages,
	})
}

func (w *worker) get(sequence uint64) *history.Op {
	op := w.newOp(history.OpGet)
	op.From = sequence
	return w.do(op, request{
		method: http.MethodGet, path: topicPath(w.topic, "messages", strconv.FormatUint(sequence, 10)),
		decode: decodeMessage,
	})
}
