package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dq/cmd/dq/verify/history"
)

// stream reads a consumer's stream for so long, or until it has got more than
// most messages, and hangs up.
func (w *worker) stream(id int64, last uint64, most int, long time.Duration) *history.Op {
	op := w.Op(history.OpStream)
	op.ID, op.From = id, last
	defer w.Rec.Add(op)
	ctx, cancel := context.WithTimeout(context.Background(), w.Timeout)
	defer cancel()
	response, err := w.send(ctx, op, Request{
		Method: http.MethodGet, Path: w.path("consumers", strconv.FormatInt(id, 10), "stream"),
		header: map[string]string{"Accept": "text/event-stream", "Last-Event-ID": strconv.FormatUint(last, 10)},
	})
	if err == nil && response.StatusCode == http.StatusOK {
		defer response.Body.Close()
		timer := time.AfterFunc(long, cancel)
		defer timer.Stop()
		op.Got = w.events(bufio.NewReader(response.Body), most)
		op.Return, op.Status, op.Outcome = w.Rec.Now(), response.StatusCode, history.OK
		return op
	}
	var body []byte
	if err == nil {
		body, err = readAll(response)
	}
	op.Return = w.Rec.Now()
	w.judge(op, response, body, err, nil)
	return op
}

// events reads messages until the connection or most of them end.
func (w *worker) events(in *bufio.Reader, most int) (got []history.Message) {
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
			var m history.Message
			if json.Unmarshal([]byte(data), &m) != nil {
				return append(got, history.Message{Data: history.NameOf(data), At: w.Rec.Now()}) // the check tells that nobody sent it
			}
			m.Data, m.At, data = history.NameOf(m.Data), w.Rec.Now(), ""
			got = append(got, m)
		}
	}
	return got
}
