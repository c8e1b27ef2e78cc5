package bench

import (
	"context"
	"fmt"
	"strings"
)

const (
	jsonType    = "application/json"
	producePath = "/producer/produce"
)

// produceBody is the body of a classic produce.
func produceBody(topic string, producer int64, size int) []byte {
	return fmt.Appendf(nil, `{"topic":%q,"producer_id":%d,"message":"%s"}`, topic, producer, strings.Repeat("x", size))
}

// batchBody is the body of a produce under /v1.
func batchBody(n, size int) []byte {
	one := `{"data":"` + strings.Repeat("x", size) + `"}`
	return []byte("[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]")
}

// topicName names one of the topics of a run.
func topicName(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

// expect accepts an answer with that status.
func expect(want int) func(int, []byte) error {
	return func(status int, answer []byte) error {
		if status != want {
			return fmt.Errorf("status %d: %.200s", status, answer)
		}
		return nil
	}
}

// Produce is the work of producing through a broker, to new topics whose names
// start with prefix.
func Produce(url, prefix string, o Options) (Work, func(), error) {
	c := newClient(url, o.Connections)
	if o.Batch > 1 {
		for i := range o.Topics {
			if _, err := c.must("PUT", "/v1/topics/"+topicName(prefix, i), nil, ""); err != nil {
				return Work{}, nil, err
			}
		}
		body := batchBody(o.Batch, o.Size)
		return Work{"dq", func(_ context.Context, i int) (int, error) {
			return o.Batch, c.do("POST", "/v1/topics/"+topicName(prefix, i%o.Topics)+"/messages", jsonType, body, expect(201))
		}}, c.close, nil
	}
	bodies := make([][]byte, o.Topics)
	for i := range bodies {
		topic := topicName(prefix, i)
		id, err := c.must("POST", "/producer/register", fmt.Appendf(nil, `{"topic":%q}`, topic), `"producer_id":`)
		if err != nil {
			return Work{}, nil, err
		}
		bodies[i] = produceBody(topic, id, o.Size)
	}
	return Work{"dq", func(_ context.Context, i int) (int, error) {
		return 1, c.do("POST", producePath, jsonType, bodies[i%len(bodies)], expect(200))
	}}, c.close, nil
}
