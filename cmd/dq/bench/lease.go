package bench

import (
	"bytes"
	"context"
	"fmt"

	"github.com/valyala/fasthttp"
)

const (
	// tokenMark comes before the token of each message that a work queue hands out.
	tokenMark = `"token":"`

	// holdAtOnce is how many messages are fetched in a call that holds them.
	holdAtOnce = 1000
)

// Lease returns the work of fetching messages from work queues and acknowledging them, on new topics, whose names start
// with prefix, with that many messages each. The workers share the consumers. As many messages as the options say are
// in flight from the beginning on, besides those that the workers have. Stop closes the connections of the work.
func Lease(ctx context.Context, url, prefix string, messages int, o Options) (_ Work, stop func(), err error) {
	c := newClient(url, o.Connections, o.Token)
	paths := make([]string, o.Consumers)
	for i := range o.Topics {
		topic := topicName(prefix, i)
		if _, err = c.send("PUT", "/v1/topics/"+topic, ""); err == nil {
			err = fill(ctx, c, topic, messages, o.Size)
		}
		if err != nil {
			c.close()
			return Work{}, nil, err
		}
	}

	for i := range paths {
		if paths[i], err = createWorkQueue(c, topicName(prefix, i%o.Topics), o); err != nil {
			c.close()
			return Work{}, nil, err
		}
	}
	return leaseCalls{client: c, paths: paths, o: o}.work("dq"), c.close, nil
}

// createWorkQueue registers a consumer with leases and returns its path. It fetches the messages that are to be in
// flight.
func createWorkQueue(c *client, topic string, o Options) (path string, err error) {
	const leases = `{"mode":"lease","start":"first","lease":"1h","max_in_flight":%d}`
	inFlight := o.InFlight + o.Connections*o.Batch
	id, err := c.postForID("/v1/topics/"+topic+"/consumers", fmt.Sprintf(leases, inFlight), "id")
	if err != nil {
		return "", err
	}

	path = fmt.Sprintf("/v1/topics/%s/consumers/%d", topic, id)
	for held := 0; held < o.InFlight; held += holdAtOnce {
		limit := min(o.InFlight-held, holdAtOnce)
		if _, err := c.send("POST", fmt.Sprintf("%s/fetch?limit=%d", path, limit), ""); err != nil {
			return "", err
		}
	}
	return path, nil
}

// leaseCalls are calls that fetch messages and acknowledge them.
type leaseCalls struct {
	client *client
	paths  []string // of the consumers; the connections share them
	o      Options
}

// leaseWorker holds the requests of a connection.
type leaseWorker struct {
	fetch, ack *fasthttp.Request
	body       []byte // of ack, used again
}

// work returns the work of making these calls.
func (l leaseCalls) work(name string) Work {
	workers := make([]leaseWorker, l.o.Connections)
	for i := range workers {
		path := l.paths[i%len(l.paths)]
		workers[i].fetch = l.client.prepare("POST", fmt.Sprintf("%s/fetch?limit=%d", path, l.o.Batch), nil)
		workers[i].ack = l.client.prepare("POST", path+"/ack", []byte("{}"))
	}
	return Work{Name: name, Do: func(_ context.Context, i int) (int, error) {
		return l.fetchAndAck(&workers[i])
	}}
}

// fetchAndAck fetches messages, acknowledges them, and returns how many there were. Errors: errRoundOver if there was
// none.
func (l leaseCalls) fetchAndAck(w *leaseWorker) (messages int, err error) {
	response, err := l.client.do(w.fetch)
	if err != nil {
		return 0, err
	}
	defer fasthttp.ReleaseResponse(response)
	if response.StatusCode() != fasthttp.StatusOK {
		return 0, fmt.Errorf("fetch: status %d: %.200s", response.StatusCode(), response.Body())
	}

	w.body, messages = appendAck(w.body[:0], response.Body())
	if messages == 0 {
		return 0, errRoundOver
	}
	w.ack.SetBodyRaw(w.body)
	answer, err := l.client.do(w.ack)
	if err != nil {
		return 0, err
	}
	defer fasthttp.ReleaseResponse(answer)
	if answer.StatusCode() != fasthttp.StatusNoContent {
		return 0, fmt.Errorf("ack: status %d: %.200s", answer.StatusCode(), answer.Body())
	}
	return messages, nil
}

// appendAck appends the body of a call that acknowledges all messages in the answer of a fetch, and returns how many
// they are.
func appendAck(body, answer []byte) (_ []byte, messages int) {
	body = append(body, `{"tokens":[`...)
	for {
		_, rest, found := bytes.Cut(answer, []byte(tokenMark))
		if !found {
			return append(body, "]}"...), messages
		}
		if messages++; messages > 1 {
			body = append(body, ',')
		}

		token, after, _ := bytes.Cut(rest, []byte(`"`))
		body = append(append(append(body, '"'), token...), '"')
		answer = after
	}
}
