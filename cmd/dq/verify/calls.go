package verify

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// worker makes the calls of one client in a round, one after the other.
type worker struct {
	*round
	name       string
	sent       int
	answeredAt time.Time // when a call was answered last
}

func (w *worker) op(kind string) *Op { return &Op{Worker: w.name, Topic: w.topic, Kind: kind} }

func (w *worker) path(parts ...string) string {
	path := "/v1/topics/" + url.PathEscape(w.topic)
	for _, part := range parts {
		path += "/" + part
	}
	return path
}

// next is the name of the next message of this worker.
func (w *worker) next() string {
	w.sent++
	return fmt.Sprintf("%s.%s.%d", w.id, w.name, w.sent)
}

// pair are the fields of many a body.
type pair map[string]any

func (w *worker) register(kind string) *Op {
	var answer struct {
		Producer *int64 `json:"producer_id"`
		Consumer *int64 `json:"consumer_id"`
	}
	op, path, id := w.op(kind), "/producer/register", &answer.Producer
	if kind == opRegisterConsumer {
		path, id, op.Mode = "/consumer/register", &answer.Consumer, "auto"
	}
	return w.answered(op, request{method: http.MethodPost, path: path, body: pair{"topic": w.topic}, answer: &answer}, func() bool {
		if *id == nil {
			return false
		}
		op.ID = **id
		return true
	})
}

// answered is do for an answer that has to be read before it is recorded. Read
// says whether it is as it should be.
func (w *worker) answered(op *Op, r request, read func() bool) *Op {
	r.answer = &reading{into: r.answer, read: read}
	return w.do(op, r)
}

func (w *worker) createConsumer(name, mode string, lease time.Duration, first bool) *Op {
	op := w.op(opCreateConsumer)
	op.Name, op.Mode, op.Lease, op.First = name, mode, lease, first
	body := pair{"mode": "auto"}
	if name != "" {
		body["name"] = name
	}
	if mode == "lease" {
		// More in flight than there are messages: an empty answer says that there
		// is nothing to hand out.
		body["mode"], body["lease"], body["max_in_flight"] = mode, lease.String(), 10_000
	}
	if first {
		body["start"] = "first"
	}
	var answer struct{ ID, Position *int64 }
	return w.answered(op, request{method: http.MethodPost, path: w.path("consumers"), body: body, answer: &answer}, func() bool {
		if answer.ID == nil || answer.Position == nil {
			return false
		}
		op.ID, op.From = *answer.ID, uint64(*answer.Position) //nolint:gosec // sequences are not negative
		return true
	})
}

func (w *worker) describeConsumer(name string) *Op {
	op := w.op(opDescribeConsumer)
	op.Name = name
	var answer struct{ ID int64 }
	return w.answered(op, request{method: http.MethodGet, path: w.path("consumers", name), answer: &answer}, func() bool {
		op.ID = answer.ID
		return true
	})
}

// topicCall is a call about a topic as a whole.
func (w *worker) topicCall(kind, topic string) *Op {
	op := w.op(kind)
	op.Topic = topic
	r := request{path: "/v1/topics/" + url.PathEscape(topic)}
	switch kind {
	case opCreateTopic:
		r = request{method: http.MethodPost, path: "/topics", body: pair{"topic_name": topic}}
	case opEnsureTopic:
		r.method = http.MethodPut
	case opDescribeTopic:
		r.method = http.MethodGet
	case opDeleteTopic:
		r.method = http.MethodDelete
	}
	return w.do(op, r)
}

func (w *worker) produce(producer int64, name string) *Op {
	op := w.op(opProduce)
	op.ID, op.Data = producer, []string{name}
	return w.do(op, request{method: http.MethodPost, path: "/producer/produce",
		body: pair{"topic": w.topic, "producer_id": producer, "message": payload(name)}})
}

// add appends messages. A key makes it safe to repeat.
func (w *worker) add(names []string, key string, atomic bool) *Op {
	op := w.op(opAppend)
	op.Data, op.Key, op.Atomic = names, key, atomic
	batch := make([]pair, len(names))
	for i, name := range names {
		batch[i] = pair{"data": payload(name)}
	}
	r := request{method: http.MethodPost, path: w.path("messages"), body: batch}
	if atomic {
		r.path += "?atomic=true"
	}
	if key != "" {
		r.header = map[string]string{"Idempotency-Key": key}
	}
	var answer struct{ Messages []Receipt }
	r.answer = &answer
	return w.answered(op, r, func() bool {
		op.Receipt = answer.Messages
		return len(op.Receipt) == len(names)
	})
}

func consumerQuery(topic string, id int64) string {
	return "?" + url.Values{"topic": {topic}, "consumer_id": {strconv.FormatInt(id, 10)}}.Encode()
}

func (w *worker) consume(id int64) *Op {
	op := w.op(opConsume)
	op.ID, op.Limit = id, 1
	var answer struct{ Message *string }
	return w.answered(op, request{method: http.MethodGet, path: "/consumer/consume" + consumerQuery(w.topic, id), answer: &answer}, func() bool {
		if answer.Message != nil {
			op.Got = []Message{{Data: nameOf(*answer.Message)}}
		}
		return answer.Message != nil
	})
}

func (w *worker) size(id int64) *Op {
	op := w.op(opSize)
	op.ID = id
	var answer struct{ Size *int64 }
	return w.answered(op, request{method: http.MethodGet, path: "/size" + consumerQuery(w.topic, id), answer: &answer}, func() bool {
		if answer.Size != nil {
			op.Size = *answer.Size
		}
		return answer.Size != nil
	})
}

// fetchLimit is the same for all fetches: the checks count on it.
const fetchLimit = 8

func (w *worker) fetch(id int64, wait time.Duration) *Op {
	op := w.op(opFetch)
	op.ID, op.Limit = id, fetchLimit
	path := fmt.Sprintf("%s?limit=%d&wait=%s", w.path("consumers", strconv.FormatInt(id, 10), "fetch"), fetchLimit, wait)
	return w.messages(op, request{method: http.MethodPost, path: path, wait: wait})
}

func (w *worker) settle(kind string, id int64, tokens []string) *Op {
	op := w.op(kind)
	op.ID, op.Tokens = id, tokens
	return w.do(op, request{method: http.MethodPost, path: w.path("consumers", strconv.FormatInt(id, 10), kind), body: pair{"tokens": tokens}})
}

func (w *worker) browse(from uint64, limit int, final bool) *Op {
	op := w.op(opBrowse)
	op.From, op.Limit, op.Final = from, limit, final
	return w.messages(op, request{method: http.MethodGet, path: fmt.Sprintf("%s?from=%d&limit=%d", w.path("messages"), from, limit)})
}

func (w *worker) get(sequence uint64) *Op {
	op := w.op(opGet)
	op.From = sequence
	var answer Message
	return w.answered(op, request{method: http.MethodGet, path: w.path("messages", strconv.FormatUint(sequence, 10)), answer: &answer}, func() bool {
		answer.Data = nameOf(answer.Data)
		op.Got = []Message{answer}
		return true
	})
}

// messages is do for an answer with messages.
func (w *worker) messages(op *Op, r request) *Op {
	var answer struct{ Messages []Message }
	r.answer = &answer
	return w.answered(op, r, func() bool {
		for i := range answer.Messages {
			answer.Messages[i].Data = nameOf(answer.Messages[i].Data)
		}
		op.Got = answer.Messages
		return true
	})
}
