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

// streamBounds say when a client hangs up: after it has received more than so
// many messages, or after that time.
type streamBounds struct {
	messages int
	time     time.Duration
}

// stream reads the stream of a consumer after the event last, on one connection.
func (w *worker) stream(id int64, last uint64, bounds streamBounds) *history.Op {
	op := w.newOp(history.OpStream)
	op.ID, op.From = id, last
	ctx, cancel := context.WithTimeout(context.Background(), w.opts.Timeout)
	defer cancel()

	response, err := w.send(ctx, op, request{
		method: http.MethodGet, path: w.consumerPath(id, "stream"),
		headers: map[string]string{"Accept": "text/event-stream", "Last-Event-ID": strconv.FormatUint(last, 10)},
	})
	if err == nil && response.StatusCode == http.StatusOK {
		timer := time.AfterFunc(bounds.time, cancel)
		op.Got = w.readEvents(bufio.NewReader(response.Body), bounds.messages)
		op.Return, op.Status, op.Outcome = w.rec.Now(), response.StatusCode, history.OK
		timer.Stop()
		response.Body.Close()
	} else {
		w.finish(op, response, err, nil)
	}

	w.rec.Add(op)
	return op
}

// readEvents reads messages until the connection ends or it has more than limit.
// An event that is not complete was not received.
func (w *worker) readEvents(in *bufio.Reader, limit int) (got []history.Message) {
	var data string
	for len(got) <= limit {
		line, err := in.ReadString('\n')
		if err != nil {
			return got
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
				// The check reports it as a message that nobody sent.
				return append(got, history.Message{Data: history.NameOf(data), At: w.rec.Now()})
			}
			m.Data, m.At, data = history.NameOf(m.Data), w.rec.Now(), ""
			got = append(got, m)
		}
	}
	return got
}
