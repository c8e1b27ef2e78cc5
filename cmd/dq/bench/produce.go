package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/valyala/fasthttp"
)

const (
	producePath = "/producer/produce"

	// sequenceMark stands once for each message in an answer under /v1.
	sequenceMark = `"sequence":`
)

func messagesPath(topic string) string { return "/v1/topics/" + topic + "/messages" }

// produceBody is the body of a classic produce.
func produceBody(topic string, producer int64, size int) []byte {
	return fmt.Appendf(nil, `{"topic":%q,"producer_id":%d,"message":"%s"}`, topic, producer, strings.Repeat("x", size))
}

// list is a JSON array with one n times.
func list(one string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]"
}

// batchBody is the body of a produce under /v1.
func batchBody(n, size int) string {
	return list(`{"data":"`+strings.Repeat("x", size)+`"}`, n)
}

// topicName names one of the topics of a run.
func topicName(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// Produce is the work of producing through a broker, to new topics whose names
// start with prefix.
func Produce(url, prefix string, o Options) (Work, func(), error) {
	c := newClient(url, o.Connections, o.Token)
	producers := make([]int64, o.Topics)
	for i := range producers {
		var err error
		producers[i], err = c.must("POST", "/producer/register", fmt.Sprintf(`{"topic":%q}`, topicName(prefix, i)), `"producer_id":`)
		if err != nil {
			c.close()
			return Work{}, nil, err
		}
	}
	return produce("dq", c, prefix, producers, o), c.close, nil
}

// produce is the work of making the calls of these producers, one for each topic.
func produce(name string, c *client, prefix string, producers []int64, o Options) Work {
	batch := []byte(batchBody(o.Batch, o.Size))
	prepared := calls(o.Connections, func(i int) *fasthttp.Request {
		i %= len(producers)
		if o.Batch > 1 {
			return c.call("POST", messagesPath(topicName(prefix, i)), batch)
		}
		return c.call("POST", producePath, produceBody(topicName(prefix, i), producers[i], o.Size))
	})
	look := expect(200, `"success"`, 1)
	if o.Batch > 1 {
		look = expect(201, sequenceMark, o.Batch)
	}
	return Work{Name: name, Do: func(_ context.Context, i int) (int, error) {
		return o.Batch, c.do(prepared[i], look)
	}}
}
