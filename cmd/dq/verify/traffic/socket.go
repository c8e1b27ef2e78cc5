package traffic

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/fasthttp/websocket"

	"dq/cmd/dq/verify/history"
)

// playSockets consumes over WebSockets while messages are produced.
func playSockets(r *round) {
	if !r.setTheScene() {
		return
	}
	id, created := r.worker("setup").addNewConsumer(
		consumerSpec{mode: modeLease, lease: 700 * time.Millisecond, first: true})
	if !created {
		return
	}

	r.together(map[string]func(*worker){
		"w1": func(w *worker) { w.socketAll(id) },
		"w2": func(w *worker) { w.socketAll(id) },
		"producer": func(w *worker) {
			w.repeat(30, "messages are appended", func(int) *history.Op {
				return w.append(batch{names: w.newMessages(1 + rand.IntN(3))})
			})
			r.producedAt.Store(r.rec.Now())
		},
	})
	r.worker("replay").replay()
}

// socketAll opens sockets until every message is acknowledged.
func (w *worker) socketAll(id int64) {
	for {
		if !w.proceed(w.socket(id, 200*time.Millisecond), "messages are consumed over sockets") {
			return
		}
		if size := w.size(id); size.Outcome == history.OK && size.Size == 0 && w.calledAtEnd(size) {
			return
		}
	}
}

// A socketCall is one connection of a WebSocket.
type socketCall struct {
	*worker
	ws      *websocket.Conn
	op      *history.Op
	changes []*history.Op // acks and the like that were not answered yet; their ids count from 1
	sent    int           // acks and the like
}

// socketEvent is what the broker sends.
type socketEvent struct {
	Type    string
	ID      int
	Message history.Message
	Problem struct {
		Status int
		Code   string
		Tokens []string
	}
}

// socket opens a WebSocket, gets and acknowledges messages for a time, and hangs up.
func (w *worker) socket(id int64, length time.Duration) *history.Op {
	s := &socketCall{worker: w, op: w.newOp(history.OpSocket)}
	s.op.ID = id
	if !s.open() {
		w.rec.Add(s.op)
		return s.op
	}

	_ = s.ws.SetReadDeadline(time.Now().Add(length))
	s.op.Outcome, s.op.Status = history.OK, http.StatusSwitchingProtocols
	for s.pull() {
		if !s.readEvents() {
			break
		}
	}
	_ = s.ws.Close()

	s.op.Return = w.rec.Now()
	w.rec.Add(s.op)
	for _, op := range s.changes {
		op.Return, op.Outcome, op.Code = s.op.Return, history.Unknown, "no_answer"
		w.rec.Add(op)
	}
	return s.op
}

// open opens the connection, and reports whether that worked.
func (s *socketCall) open() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	s.op.Facade = rand.IntN(len(s.opts.URLs))
	address := "ws" + strings.TrimPrefix(s.opts.URLs[s.op.Facade], "http") + s.consumerPath(s.op.ID, "socket")
	header := http.Header{}
	if s.opts.Token != "" {
		header.Set("Authorization", "Bearer "+s.opts.Token)
	}

	s.op.Call = s.rec.Now()
	ws, response, err := websocket.DefaultDialer.DialContext(ctx, address, header)
	switch {
	case err == nil:
		s.ws = ws
		return true
	case response != nil:
		s.finish(s.op, response, nil, nil)
	default:
		s.finish(s.op, nil, err, nil)
	}
	return false
}

// pull asks for some messages, and reports whether that was sent.
func (s *socketCall) pull() bool {
	n := 1 + rand.IntN(fetchLimit)
	s.op.Limit += n
	return s.ws.WriteJSON(fields{"type": "pull", "count": n}) == nil
}

// readEvents reads until all messages that were asked for are there, and reports
// whether the connection is to go on.
func (s *socketCall) readEvents() bool {
	for len(s.op.Got) < s.op.Limit || len(s.changes) > 0 {
		_, text, err := s.ws.ReadMessage()
		if err != nil {
			return false
		}
		var event socketEvent
		if json.Unmarshal(text, &event) != nil || !s.take(&event) {
			s.op.Outcome, s.op.Code = history.Unknown, "bad_answer"
			return false
		}
	}
	return true
}

// take takes what the broker sent, and reports whether that was asked for.
func (s *socketCall) take(event *socketEvent) bool {
	if event.Type != "message" {
		return s.answered(event)
	}
	m := event.Message
	m.Data, m.At = history.NameOf(m.Data), s.rec.Now()
	s.op.Got = append(s.op.Got, m)
	if len(s.op.Got) > s.op.Limit {
		return false
	}

	switch rand.IntN(8) {
	case 0: // crashed before the ack
	case 1:
		s.change(history.OpNack, m.Token)
	default:
		s.change(history.OpAck, m.Token)
	}
	return true
}

// change sends an ack or nack.
func (s *socketCall) change(kind, token string) {
	s.sent++
	op := s.newOp(kind)
	op.ID, op.Facade, op.Tokens, op.Call = s.op.ID, s.op.Facade, []string{token}, s.rec.Now()
	op.N = int64(s.sent) // until it is recorded: the id of the text
	s.changes = append(s.changes, op)
	_ = s.ws.WriteJSON(fields{"type": kind, "id": s.sent, "tokens": op.Tokens})
}

// answered records the ack or nack that the broker answers, and reports whether there
// is one.
func (s *socketCall) answered(event *socketEvent) bool {
	for i, op := range s.changes {
		if op.N != int64(event.ID) {
			continue
		}
		s.changes = append(s.changes[:i:i], s.changes[i+1:]...)
		op.Return, op.Outcome, op.Status = s.rec.Now(), history.OK, http.StatusNoContent
		if event.Type == "error" {
			op.Status, op.Code, op.LostTokens = event.Problem.Status, event.Problem.Code, event.Problem.Tokens
			op.Outcome = history.Refused
			if op.Status >= 500 && !op.TurnedAway() {
				op.Outcome = history.Unknown
			}
		}
		s.rec.Add(op)
		return true
	}
	return event.Type == "error" && event.ID == 0 // it is about the connection, and the last text on it
}
