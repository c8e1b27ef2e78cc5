package bench

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// Consume returns the work of consuming new topics, whose names start with prefix,
// with that many messages each. The consumers start at the first message. A batch of
// one uses the classic call. Stop closes the connections of the work.
func Consume(ctx context.Context, url, prefix string, messages int, o Options) (_ Work, stop func(), err error) {
	c := newClient(url, o.Connections, o.Token)
	paths, err := createConsumers(c, prefix, o)
	for i := 0; i < o.Topics && err == nil; i++ {
		err = fill(ctx, c, topicName(prefix, i), messages, o.Size)
	}
	if err != nil {
		c.close()
		return Work{}, nil, err
	}

	calls := consumeCalls{client: c, paths: paths, whenEmpty: endRound, o: o}
	return calls.work("dq"), c.close, nil
}

// ProduceAndConsume returns the works of producing to new topics, whose names start
// with prefix, and of consuming them at the same time. Stop closes their connections.
func ProduceAndConsume(url, prefix string, o Options) (_ []Work, stop func(), err error) {
	producing, stopProducing, err := Produce(url, prefix, o)
	if err != nil {
		return nil, nil, err
	}
	producing.Name = "produce"

	c := newClient(url, o.Connections, o.Token)
	paths, err := createConsumers(c, prefix, o)
	if err != nil {
		stopProducing()
		c.close()
		return nil, nil, err
	}

	// Consumers that ask without a pause while no message exists would take the
	// processors away from the producers.
	pause := func() error { time.Sleep(time.Millisecond); return nil }
	consuming := consumeCalls{client: c, paths: paths, whenEmpty: pause, o: o}.work("consume")
	return []Work{producing, consuming}, func() { stopProducing(); c.close() }, nil
}

// createConsumers creates the topics of a run with their consumers, and returns the
// path of each consumer's consume call.
func createConsumers(c *client, prefix string, o Options) (paths []string, err error) {
	for i := range o.Topics {
		if _, err := c.send("PUT", "/v1/topics/"+topicName(prefix, i), ""); err != nil {
			return nil, err
		}
	}

	paths = make([]string, o.Consumers)
	for i := range paths {
		if paths[i], err = createConsumer(c, topicName(prefix, i%o.Topics), "first", o); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// createConsumer creates a consumer and returns the path of its consume call.
func createConsumer(c *client, topic, start string, o Options) (path string, err error) {
	id, err := c.postForID("/v1/topics/"+topic+"/consumers", fmt.Sprintf(`{"start":%q}`, start), "id")
	return consumePath(topic, id, o), err
}

func consumePath(topic string, id int64, o Options) string {
	if o.Batch > 1 {
		return fmt.Sprintf("/v1/topics/%s/consumers/%d/fetch?limit=%d", topic, id, o.Batch)
	}
	return fmt.Sprintf("/consumer/consume?topic=%s&consumer_id=%d", topic, id)
}

// fill produces that many messages of size bytes to a topic.
func fill(ctx context.Context, c *client, topic string, messages, size int) error {
	const batch = 1000
	for messages > 0 && ctx.Err() == nil {
		n := min(messages, batch)
		if _, err := c.send("POST", messagesPath(topic), batchBody(n, size)); err != nil {
			return err
		}
		messages -= n
	}
	return ctx.Err()
}

// consumeCalls are calls that consume.
type consumeCalls struct {
	client    *client
	paths     []string     // of the calls; the connections share them
	whenEmpty func() error // called after an answer without a message
	o         Options
}

// endRound ends a round when no message is left.
func endRound() error { return errRoundOver }

// work returns the work of making these calls.
func (s consumeCalls) work(name string) Work {
	method := "GET"
	if s.o.Batch > 1 {
		method = "POST"
	}

	requests := prepareAll(s.o.Connections, func(i int) *fasthttp.Request {
		return s.client.prepare(method, s.paths[i%len(s.paths)], nil)
	})
	return Work{Name: name, Do: func(_ context.Context, i int) (int, error) {
		n, err := s.consume(requests[i])
		if err == nil && n == 0 {
			err = s.whenEmpty()
		}
		return n, err
	}}
}

// consume makes a call and returns how many messages came.
func (s consumeCalls) consume(request *fasthttp.Request) (int, error) {
	response, err := s.client.do(request)
	if err != nil {
		return 0, err
	}
	defer fasthttp.ReleaseResponse(response)

	status, body := response.StatusCode(), response.Body()
	switch {
	case status == 200 && s.o.Batch > 1:
		return bytes.Count(body, []byte(sequenceMark)), nil
	case status == 200 && bytes.Contains(body, []byte(`"message":"`)):
		return 1, nil
	case status == 400 && bytes.Contains(body, []byte(`"code":"empty"`)):
		return 0, nil
	}
	return 0, fmt.Errorf("consume: status %d: %.200s", status, body)
}
