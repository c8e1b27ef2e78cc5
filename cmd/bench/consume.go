package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
)

// fill produces messages to a topic.
func fill(c *client, topic string, messages, size int) error {
	const most = 1000
	for messages > 0 {
		n := min(messages, most)
		if _, err := c.must("POST", "/v1/topics/"+topic+"/messages", batchBody(n, size), ""); err != nil {
			return err
		}
		messages -= n
	}
	return nil
}

// Consume is the work of consuming through a broker a new topic with that many
// messages, by consumers that stand at its start. With a batch of one it is the
// classic call.
func Consume(broker, prefix string, messages int, o Options) (Work, func(), error) {
	c := newClient(broker, o.Connections)
	topic := topicName(prefix, 0)
	if _, err := c.must("PUT", "/v1/topics/"+topic, nil, ""); err != nil {
		return Work{}, nil, err
	}
	paths := make([]string, o.Consumers)
	for i := range paths {
		id, err := c.must("POST", "/v1/topics/"+topic+"/consumers", []byte(`{"start":"first"}`), `"id":`)
		if err != nil {
			return Work{}, nil, err
		}
		paths[i] = fmt.Sprintf("/consumer/consume?topic=%s&consumer_id=%d", url.QueryEscape(topic), id)
		if o.Batch > 1 {
			paths[i] = fmt.Sprintf("/v1/topics/%s/consumers/%d/fetch?limit=%d", topic, id, o.Batch)
		}
	}
	if err := fill(c, topic, messages, o.Size); err != nil {
		return Work{}, nil, err
	}
	if o.Batch > 1 {
		return Work{"dq", func(_ context.Context, i int) (n int, err error) {
			err = c.do("POST", paths[i%len(paths)], "", nil, func(status int, answer []byte) error {
				if n = bytes.Count(answer, []byte(`"sequence":`)); status == 200 && n == 0 {
					return errDone
				}
				return expect(200)(status, answer)
			})
			return n, err
		}}, c.close, nil
	}
	return Work{"dq", func(_ context.Context, i int) (int, error) {
		return 1, c.do("GET", paths[i%len(paths)], "", nil, func(status int, answer []byte) error {
			if status == 400 && bytes.Contains(answer, []byte(`"empty"`)) {
				return errDone
			}
			return expect(200)(status, answer)
		})
	}}, c.close, nil
}
