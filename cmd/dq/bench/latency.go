package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// numberDigits is the length of the number at the start of each message, which tells
// it from all others of the run.
const numberDigits = 20

// Latency returns the work of producing a message to a consumer that waits for it, on a
// new topic for each connection. Each of its calls lasts until the consumer has the
// message and the producer has its answer. Stop closes the connections of the work.
func Latency(url, prefix string, o Options) (_ Work, stop func(), err error) {
	c := newClient(url, 2*o.Connections, o.Token)
	waits := make([]*fasthttp.Request, o.Connections)
	for i := range waits {
		if waits[i], err = prepareWait(c, topicName(prefix, i)); err != nil {
			c.close()
			return Work{}, nil, err
		}
	}
	return latencyWork(c, prefix, waits, o), c.close, nil
}

// prepareWait creates a topic with a consumer and returns the request that waits for
// the consumer's next message.
func prepareWait(c *client, topic string) (*fasthttp.Request, error) {
	if _, err := c.send("PUT", "/v1/topics/"+topic, ""); err != nil {
		return nil, err
	}
	id, err := c.postForID("/v1/topics/"+topic+"/consumers", "{}", "id")
	if err != nil {
		return nil, err
	}
	return c.prepare("POST", fmt.Sprintf("/v1/topics/%s/consumers/%d/fetch?limit=1&wait=10s", topic, id), nil), nil
}

// latencyWork returns the work of producing a message and waiting for it by the request
// of the connection.
func latencyWork(c *client, prefix string, waits []*fasthttp.Request, o Options) Work {
	bodies := make([][]byte, o.Connections)
	sends := prepareAll(o.Connections, func(i int) *fasthttp.Request {
		bodies[i] = []byte(strings.Repeat("x", max(o.Size, numberDigits)))
		request := c.prepare("POST", messagesPath(topicName(prefix, i)), bodies[i])
		request.Header.SetContentType("text/plain")
		return request
	})

	var number atomic.Int64
	stored := expectation{status: 201, mark: sequenceMark, times: 1}
	return Work{Name: "dq", Do: func(_ context.Context, i int) (int, error) {
		mark := fmt.Appendf(bodies[i][:0], "%0*d", numberDigits, number.Add(1)) // overwrites the start of the body
		arrived := expectation{status: 200, mark: `"data":"` + string(mark), times: 1}
		waited := make(chan error, 1)
		go func() { waited <- c.expect(waits[i], arrived) }()

		err := c.expect(sends[i], stored)
		return 1, errors.Join(err, <-waited)
	}}
}
