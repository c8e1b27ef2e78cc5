package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// digitsOfNumber is how long the number is that a message starts with, which
// tells it from all others of the run.
const digitsOfNumber = 20

// Latency is the work of producing a message and having it at a consumer that
// waits for it, on a new topic for each connection. Its calls last from before
// the produce until the consumer has the message and the producer its answer.
func Latency(url, prefix string, o Options) (Work, func(), error) {
	c := newClient(url, 2*o.Connections, o.Token)
	waits := make([]*fasthttp.Request, o.Connections)
	for i := range waits {
		topic := topicName(prefix, i)
		_, err := c.must("PUT", "/v1/topics/"+topic, "", "")
		id := int64(0)
		if err == nil {
			id, err = c.must("POST", "/v1/topics/"+topic+"/consumers", "{}", `"id":`)
		}
		if err != nil {
			c.close()
			return Work{}, nil, err
		}
		waits[i] = c.call("POST", fmt.Sprintf("/v1/topics/%s/consumers/%d/fetch?limit=1&wait=10s", topic, id), nil)
	}
	return latency(c, prefix, waits, o), c.close, nil
}

func latency(c *client, prefix string, waits []*fasthttp.Request, o Options) Work {
	bodies := make([][]byte, o.Connections)
	sends := calls(o.Connections, func(i int) *fasthttp.Request {
		bodies[i] = []byte(strings.Repeat("x", max(o.Size, digitsOfNumber)))
		call := c.call("POST", messagesPath(topicName(prefix, i)), bodies[i])
		call.Header.SetContentType("text/plain")
		return call
	})
	var number atomic.Int64
	stored := expect(201, sequenceMark, 1)
	return Work{Name: "dq", Do: func(_ context.Context, i int) (int, error) {
		mark := fmt.Appendf(bodies[i][:0], "%0*d", digitsOfNumber, number.Add(1)) // in place
		came := make(chan error, 1)
		go func() { came <- c.do(waits[i], expect(200, `"data":"`+string(mark), 1)) }()
		err := c.do(sends[i], stored)
		return 1, errors.Join(err, <-came)
	}}
}
