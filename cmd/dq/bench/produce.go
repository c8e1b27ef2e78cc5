package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
)

const (
	producePath = "/producer/produce"

	// sequenceMark occurs once for each message in an answer under /v1.
	sequenceMark = `"sequence":`
)

func messagesPath(topic string) string { return "/v1/topics/" + topic + "/messages" }

// produceBody returns the body of a classic produce.
func produceBody(topic string, producer int64, size int) []byte {
	return fmt.Appendf(nil, `{"topic":%q,"producer_id":%d,"message":"%s"}`, topic, producer, strings.Repeat("x", size))
}

// batchBody returns the body of a produce of n messages under /v1.
func batchBody(n, size int) string {
	return jsonArray(`{"data":"`+strings.Repeat("x", size)+`"}`, n)
}

// jsonArray returns a JSON array with item n times.
func jsonArray(item string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
}

// topicName returns the name of topic i of a run.
func topicName(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// Produce returns the work of producing through a broker, to new topics whose names
// start with prefix. Stop closes its connections.
func Produce(url, prefix string, o Options) (_ Work, stop func(), err error) {
	c := newClient(url, o.Connections, o.Token)
	producers := make([]int64, o.Topics)
	for i := range producers {
		body := fmt.Sprintf(`{"topic":%q}`, topicName(prefix, i))
		producers[i], err = c.postForID("/producer/register", body, "producer_id")
		if err != nil {
			c.close()
			return Work{}, nil, err
		}
	}

	calls := produceCalls{client: c, prefix: prefix, producers: producers, o: o}
	return calls.work("dq"), c.close, nil
}

// produceCalls are calls that produce, spread over the topics of a run.
type produceCalls struct {
	client    *client
	prefix    string  // of the names of the topics
	producers []int64 // the id of the producer of each topic
	o         Options
}

// work returns the work of making these calls.
func (p produceCalls) work(name string) Work {
	want := expectation{status: 200, mark: `"success"`, times: 1}
	if p.o.Batch > 1 {
		want = expectation{status: 201, mark: sequenceMark, times: p.o.Batch}
	}

	batch := []byte(batchBody(p.o.Batch, p.o.Size))
	requests := prepareAll(p.o.Connections, func(i int) *fasthttp.Request {
		i %= len(p.producers)
		if p.o.Batch > 1 {
			return p.client.prepare("POST", messagesPath(topicName(p.prefix, i)), batch)
		}
		return p.client.prepare("POST", producePath, produceBody(topicName(p.prefix, i), p.producers[i], p.o.Size))
	})
	return Work{Name: name, Do: func(_ context.Context, i int) (int, error) {
		return p.o.Batch, p.client.expect(requests[i], want)
	}}
}
