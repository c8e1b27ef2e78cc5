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
		r.method, r.decode = http.MethodGet, decodeTopic
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
	of    string        // key of the messages that it gets; "" for all

	maxDeliveries   int    // of mode lease; 0 for no limit
	deadLetterTopic string // of mode lease
}

func (w *worker) createConsumer(spec consumerSpec) *history.Op {
	op := w.newOp(history.OpCreateConsumer)
	op.Name, op.Mode, op.Lease, op.First = spec.name, spec.mode, spec.lease, spec.first
	op.MessageKey, op.Limit = spec.of, spec.maxDeliveries

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
	if spec.of != "" {
		body["key"] = spec.of
	}
	if spec.maxDeliveries > 0 {
		body["max_deliveries"], body["dead_letter_topic"] = spec.maxDeliveries, spec.deadLetterTopic
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

// batch is messages that are appended with one call.
type batch struct {
	names    []string
	key      string // idempotency key; with one, the call can be repeated without storing the messages twice
	atomic   bool
	of       string        // key of the messages
	delay    time.Duration // before they are stored
	ttl      time.Duration
	expected *uint64 // last sequence that the topic must have
}

// append appends messages.
func (w *worker) append(b batch) *history.Op {
	op := w.newOp(history.OpAppend)
	op.Data, op.Key, op.Atomic, op.MessageKey = b.names, b.key, b.atomic, b.of
	op.Delay, op.TTL, op.Expected = b.delay, b.ttl, b.expected

	body := make([]fields, len(b.names))
	for i, name := range b.names {
		body[i] = b.message(name)
	}
	r := request{method: http.MethodPost, path: topicPath(w.topic, "messages"), body: body, decode: decodeReceipts}
	query := url.Values{}
	if b.atomic {
		query.Set("atomic", "true")
	}
	if b.expected != nil {
		query.Set("expected_last_sequence", strconv.FormatUint(*b.expected, 10))
	}
	if len(query) > 0 {
		r.path += "?" + query.Encode()
	}
	if b.key != "" {
		r.headers = map[string]string{"Idempotency-Key": b.key}
	}
	return w.do(op, r)
}

// message returns the message of b with that name.
func (b *batch) message(name string) fields {
	m := fields{"data": history.Payload(name)}
	if b.of != "" {
		m["key"] = b.of
	}
	if b.delay > 0 {
		m["delay"] = b.delay.String()
	}
	if b.ttl > 0 {
		m["ttl"] = b.ttl.String()
	}
	return m
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

// seek moves a consumer to a sequence.
func (w *worker) seek(id int64, sequence uint64) *history.Op {
	op := w.newOp(history.OpSeek)
	op.ID, op.From = id, sequence
	return w.do(op, request{
		method: http.MethodPost, path: w.consumerPath(id, "seek"), body: fields{"to": sequence},
	})
}

func (w *worker) pause(id int64, length time.Duration) *history.Op {
	op := w.newOp(history.OpPause)
	op.ID, op.Delay = id, length
	return w.do(op, request{
		method: http.MethodPost, path: w.consumerPath(id, "pause"), body: fields{"for": length.String()},
	})
}

func (w *worker) resume(id int64) *history.Op {
	op := w.newOp(history.OpResume)
	op.ID = id
	return w.do(op, request{method: http.MethodPost, path: w.consumerPath(id, "resume")})
}

// purge removes the messages up to a sequence, or all if that is 0.
func (w *worker) purge(upTo uint64) *history.Op {
	op := w.newOp(history.OpPurge)
	op.UpTo = upTo
	r := request{method: http.MethodDelete, path: topicPath(w.topic, "messages")}
	if upTo > 0 {
		r.path += fmt.Sprintf("?up_to=%d", upTo)
	}
	return w.do(op, r)
}

// changeTopic changes settings of the topic.
func (w *worker) changeTopic(settings history.Settings) *history.Op {
	op := w.newOp(history.OpChangeTopic)
	op.Settings = &settings
	return w.do(op, request{method: http.MethodPatch, path: topicPath(w.topic), body: settings})
}

// browseOptions say which messages are read.
type browseOptions struct {
	from  uint64
	limit int
	of    string // only messages with that key
	final bool   // the call is part of the replay that ends a scene
}

// browse reads messages without a consumer.
func (w *worker) browse(b browseOptions) *history.Op {
	op := w.newOp(history.OpBrowse)
	op.From, op.Limit, op.MessageKey, op.Final = b.from, b.limit, b.of, b.final
	path := fmt.Sprintf("%s?from=%d&limit=%d", topicPath(w.topic, "messages"), b.from, b.limit)
	if b.of != "" {
		path += "&key=" + url.QueryEscape(b.of)
	}
	return w.do(op, request{method: http.MethodGet, path: path, decode: decodeMessages})
}

// readDead reads the dead-letter topic of the scene.
func (w *worker) readDead(from uint64) *history.Op {
	op := w.newOp(history.OpReadDead)
	op.From, op.Limit = from, replayLimit
	path := fmt.Sprintf("%s?from=%d&limit=%d", topicPath(w.topic+deadSuffix, "messages"), from, replayLimit)
	return w.do(op, request{method: http.MethodGet, path: path, decode: decodeMessages})
}

func (w *worker) get(sequence uint64) *history.Op {
	op := w.newOp(history.OpGet)
	op.From = sequence
	return w.do(op, request{
		method: http.MethodGet, path: topicPath(w.topic, "messages", strconv.FormatUint(sequence, 10)),
		decode: decodeMessage,
	})
}
