package verify

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// stream reads a consumer's stream for so long, or until it has got more than
// most messages, and hangs up.
func (w *worker) stream(id int64, last uint64, most int, long time.Duration) *Op {
	op := w.op(opStream)
	op.ID, op.From = id, last
	defer w.rec.add(op)
	ctx, cancel := context.WithTimeout(context.Background(), w.timeout)
	defer cancel()
	response, err := w.send(ctx, op, request{
		method: http.MethodGet, path: w.path("consumers", strconv.FormatInt(id, 10), "stream"),
		header: map[string]string{"Accept": "text/event-stream", "Last-Event-ID": strconv.FormatUint(last, 10)},
	})
	if err == nil && response.StatusCode == http.StatusOK {
		defer response.Body.Close()
		timer := time.AfterFunc(long, cancel)
		defer timer.Stop()
		op.Got = w.events(bufio.NewReader(response.Body), most)
		op.Return, op.Status, op.Outcome = w.rec.now(), response.StatusCode, ok
		return op
	}
	var body []byte
	if err == nil {
		body, err = readAll(response)
	}
	op.Return = w.rec.now()
	w.judge(op, response, body, err, nil)
	return op
}

// events reads messages until the connection or most of them end.
func (w *worker) events(in *bufio.Reader, most int) (got []Message) {
	var data string
	for len(got) <= most {
		line, err := in.ReadString('\n')
		if err != nil {
			return got // what is not complete was not received
		}
		line = strings.TrimSuffix(line, "\n")
		switch text, isData := strings.CutPrefix(line, "data: "); {
		case isData:
			data = text
		case line == "event: error":
			return got
		case line == "" && data != "":
			var m Message
			if json.Unmarshal([]byte(data), &m) != nil {
				return append(got, Message{Data: nameOf(data), At: w.rec.now()}) // the check tells that nobody sent it
			}
			m.Data, m.At, data = nameOf(m.Data), w.rec.now(), ""
			got = append(got, m)
		}
	}
	return got
}
