package bench

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// fill produces messages to a topic.
func fill(ctx context.Context, c *client, topic string, messages, size int) error {
	const most = 1000
	for messages > 0 && ctx.Err() == nil {
		n := min(messages, most)
		if _, err := c.must("POST", messagesPath(topic), batchBody(n, size), ""); err != nil {
			return err
		}
		messages -= n
	}
	return ctx.Err()
}

// register registers a consumer and returns the path that consumes with it.
func register(c *client, topic, start string, o Options) (path string, err error) {
	id, err := c.must("POST", "/v1/topics/"+topic+"/consumers", fmt.Sprintf(`{"start":%q}`, start), `"id":`)
	return consumePath(topic, id, o), err
}

func consumePath(topic string, id int64, o Options) string {
	if o.Batch > 1 {
		return fmt.Sprintf("/v1/topics/%s/consumers/%d/fetch?limit=%d", topic, id, o.Batch)
	}
	return fmt.Sprintf("/consumer/consume?topic=%s&consumer_id=%d", topic, id)
}

// Consume is the work of consuming through a broker new topics with that many
// messages each, by consumers that stand at their start. With a batch of one it
// is the classic call.
func Consume(ctx context.Context, url, prefix string, messages int, o Options) (Work, func(), error) {
	c := newClient(url, o.Connections, o.Token)
	paths, err := consumers(c, prefix, o)
	for i := 0; i < o.Topics && err == nil; i++ {
		err = fill(ctx, c, topicName(prefix, i), messages, o.Size)
	}
	if err != nil {
		c.close()
		return Work{}, nil, err
	}
	return consume("dq", c, paths, o, func() error { return errDone }), c.close, nil
}

// consumers makes the topics with their consumers, and returns the paths that
// consume.
func consumers(c *client, prefix string, o Options) ([]string, error) {
	for i := range o.Topics {
		if _, err := c.must("PUT", "/v1/topics/"+topicName(prefix, i), "", ""); err != nil {
			return nil, err
		}
	}
	paths := make([]string, o.Consumers)
	for i := range paths {
		var err error
		if paths[i], err = register(c, topicName(prefix, i%o.Topics), "first", o); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// consume is the work of making calls to these paths. What to do when there is
// no message is for empty to say.
func consume(name string, c *client, paths []string, o Options, empty func() error) Work {
	method := "GET"
	if o.Batch > 1 {
		method = "POST"
	}
	prepared := calls(o.Connections, func(i int) *fasthttp.Request {
		return c.call(method, paths[i%len(paths)], nil)
	})
	return Work{Name: name, Do: func(_ context.Context, i int) (n int, err error) {
		err = c.do(prepared[i], func(status int, answer []byte) error {
			n, err = consumed(status, answer, o.Batch > 1)
			return err
		})
		if err == nil && n == 0 {
			err = empty()
		}
		return n, err
	}}
}

// consumed counts the messages in an answer.
func consumed(status int, answer []byte, batch bool) (int, error) {
	switch {
	case status == 200 && batch:
		return bytes.Count(answer, []byte(sequenceMark)), nil
	case status == 200 && bytes.Contains(answer, []byte(`"message":"`)):
		return 1, nil
	case status == 400 && bytes.Contains(answer, []byte(`"code":"empty"`)):
		return 0, nil
	}
	return 0, fmt.Errorf("consume: status %d: %.200s", status, answer)
}

// Both are the works of producing to new topics and of consuming them meanwhile.
func Both(url, prefix string, o Options) ([]Work, func(), error) {
	in, stop, err := Produce(url, prefix, o)
	if err != nil {
		return nil, nil, err
	}
	c := newClient(url, o.Connections, o.Token)
	paths, err := consumers(c, prefix, o)
	if err != nil {
		stop()
		c.close()
		return nil, nil, err
	}
	// Who asks without a pause while there is nothing takes the processors away
	// from those who produce.
	out := consume("consume", c, paths, o, func() error { time.Sleep(time.Millisecond); return nil })
	in.Name = "produce"
	return []Work{in, out}, func() { stop(); c.close() }, nil
}
