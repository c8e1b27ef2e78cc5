package traffic

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"dq/cmd/dq/verify/history"
)

// worker makes the calls of one client in a round, one after the other.
type worker struct {
	*Round
	name       string
	sent       int
	answeredAt time.Time // when a call was answered last
}

func (w *worker) Op(kind string) *history.Op {
	return &history.Op{Worker: w.name, Topic: w.Topic, Kind: kind}
}

func (w *worker) path(parts ...string) string {
	path := "/v1/topics/" + url.PathEscape(w.Topic)
	for _, part := range parts {
		path += "/" + part
	}
	return path
}

// next is the name of the next message of this worker.
func (w *worker) next() string {
	w.sent++
	return fmt.Sprintf("%s.%s.%d", w.Id, w.name, w.sent)
}

// pair are the fields of many a body.
type pair map[string]any

func (w *worker) register(kind string) *history.Op {
	var answer struct {
		Producer *int64 `json:"producer_id"`
		Consumer *int64 `json:"consumer_id"`
	}
	op, path, id := w.Op(kind), "/producer/register", &answer.Producer
	if kind == history.OpRegisterConsumer {
		path, id, op.Mode = "/consumer/register", &answer.Consumer, "auto"
	}
	return w.answered(op, Request{Method: http.MethodPost, Path: path, body: pair{"topic": w.Topic}, Answer: &answer}, func() bool {
		if *id == nil {
			return false
		}
		op.ID = **id
		return true
	})
}

// answered is do for an answer that has to be read before it is recorded. Read
// says whether it is as it should be.
func (w *worker) answered(op *history.Op, r Request, read func() bool) *history.Op {
	r.Answer = &reading{into: r.Answer, read: read}
	return w.Do(op, r)
}

func (w *worker) createConsumer(name, mode string, lease time.Duration, first bool) *history.Op {
	op := w.Op(history.OpCreateConsumer)
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
	return w.answered(op, Request{Method: http.MethodPost, Path: w.path("consumers"), body: body, Answer: &answer}, func() bool {
		if answer.ID == nil || answer.Position == nil {
			return false
		}
		op.ID, op.From = *answer.ID, uint64(*answer.Position) //nolint:gosec // sequences are not negative
		return true
	})
}

func (w *worker) describeConsumer(name string) *history.Op {
	op := w.Op(history.OpDescribeConsumer)
	op.Name = name
	var answer struct{ ID int64 }
	return w.answered(op, Request{Method: http.MethodGet, Path: w.path("consumers", name), Answer: &answer}, func() bool {
		op.ID = answer.ID
		return true
	})
}

// topicCall is a call about a topic as a whole.
func (w *worker) TopicCall(kind, topic string) *history.Op {
	op := w.Op(kind)
	op.Topic = topic
	r := Request{Path: "/v1/topics/" + url.PathEscape(topic)}
	switch kind {
	case history.OpCreateTopic:
		r = Request{Method: http.MethodPost, Path: "/topics", body: pair{"topic_name": topic}}
	case history.OpEnsureTopic:
		r.Method = http.MethodPut
	case history.OpDescribeTopic:
		r.Method = http.MethodGet
	case history.OpDeleteTopic:
		r.Method = http.MethodDelete
	}
	return w.Do(op, r)
}

func (w *worker) produce(producer int64, name string) *history.Op {
	op := w.Op(history.OpProduce)
	op.ID, op.Data = producer, []string{name}
	return w.Do(op, Request{Method: http.MethodPost, Path: "/producer/produce",
		body: pair{"topic": w.Topic, "producer_id": producer, "message": history.Payload(name)}})
}

// add appends messages. A key makes it safe to repeat.
func (w *worker) add(names []string, key string, atomic bool) *history.Op {
	op := w.Op(history.OpAppend)
	op.Data, op.Key, op.Atomic = names, key, atomic
	batch := make([]pair, len(names))
	for i, name := range names {
		batch[i] = pair{"data": history.Payload(name)}
	}
	r := Request{Method: http.MethodPost, Path: w.path("messages"), body: batch}
	if atomic {
		r.Path += "?atomic=true"
	}
	if key != "" {
		r.header = map[string]string{"Idempotency-Key": key}
	}
	var answer struct{ Messages []history.Receipt }
	r.Answer = &answer
	return w.answered(op, r, func() bool {
		op.Receipt = answer.Messages
		return len(op.Receipt) == len(names)
	})
}

func consumerQuery(topic string, id int64) string {
	return "?" + url.Values{"topic": {topic}, "consumer_id": {strconv.FormatInt(id, 10)}}.Encode()
}

func (w *worker) consume(id int64) *history.Op {
	op := w.Op(history.OpConsume)
	op.ID, op.Limit = id, 1
	var answer struct{ Message *string }
	return w.answered(op, Request{Method: http.MethodGet, Path: "/consumer/consume" + consumerQuery(w.Topic, id), Answer: &answer}, func() bool {
		if answer.Message != nil {
			op.Got = []history.Message{{Data: history.NameOf(*answer.Message)}}
		}
		return answer.Message != nil
	})
}

func (w *worker) size(id int64) *history.Op {
	op := w.Op(history.OpSize)
	op.ID = id
	var answer struct{ Size *int64 }
	return w.answered(op, Request{Method: http.MethodGet, Path: "/size" + consumerQuery(w.Topic, id), Answer: &answer}, func() bool {
		if answer.Size != nil {
			op.Size = *answer.Size
		}
		return answer.Size != nil
	})
}

// fetchLimit is the same for all fetches: the checks count on it.
const fetchLimit = 8

func (w *worker) fetch(id int64, wait time.Duration) *history.Op {
	op := w.Op(history.OpFetch)
	op.ID, op.Limit = id, fetchLimit
	path := fmt.Sprintf("%s?limit=%d&wait=%s", w.path("consumers", strconv.FormatInt(id, 10), "fetch"), fetchLimit, wait)
	return w.messages(op, Request{Method: http.MethodPost, Path: path, wait: wait})
}

func (w *worker) settle(kind string, id int64, tokens []string) *history.Op {
	op := w.Op(kind)
	op.ID, op.Tokens = id, tokens
	return w.Do(op, Request{Method: http.MethodPost, Path: w.path("consumers", strconv.FormatInt(id, 10), kind), body: pair{"tokens": tokens}})
}

func (w *worker) browse(from uint64, limit int, final bool) *history.Op {
	op := w.Op(history.OpBrowse)
	op.From, op.Limit, op.Final = from, limit, final
	return w.messages(op, Request{Method: http.MethodGet, Path: fmt.Sprintf("%s?from=%d&limit=%d", w.path("messages"), from, limit)})
}

func (w *worker) get(sequence uint64) *history.Op {
	op := w.Op(history.OpGet)
	op.From = sequence
	var answer history.Message
	return w.answered(op, Request{Method: http.MethodGet, Path: w.path("messages", strconv.FormatUint(sequence, 10)), Answer: &answer}, func() bool {
		answer.Data = history.NameOf(answer.Data)
		op.Got = []history.Message{answer}
		return true
	})
}

// messages is do for an answer with messages.
func (w *worker) messages(op *history.Op, r Request) *history.Op {
	var answer struct{ Messages []history.Message }
	r.Answer = &answer
	return w.answered(op, r, func() bool {
		for i := range answer.Messages {
			answer.Messages[i].Data = history.NameOf(answer.Messages[i].Data)
		}
		op.Got = answer.Messages
		return true
	})
}
