package facade

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"dq/facade/decode"
	"dq/facade/transport"
	"dq/jetstream"
)

// v1Socket opens a WebSocket on a consumer.
func (f *Facade) v1Socket(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if !websocket.FastHTTPIsWebSocketUpgrade(c.Context()) {
		return nil, &noUpgradeError{}
	}
	return &socketUpgrade{facade: f, consumer: consumer}, nil
}

// A socketUpgrade is the answer that turns the connection into a WebSocket on a consumer.
type socketUpgrade struct {
	facade   *Facade
	consumer jetstream.Consumer
}

func (u *socketUpgrade) write(c *fiber.Ctx) error {
	f := u.facade
	leave, err := f.waiters.Acquire(1)
	if err != nil {
		return err
	}
	client, _ := c.Context().Conn().(*transport.Conn)
	s := &socket{
		facade:   f,
		consumer: u.consumer,
		session:  f.session(c, u.consumer.Topic), // c ends before the socket begins
		client:   client,
		pulled:   make(chan struct{}, 1),
	}

	f.streams.Add(1)
	anyOrigin := func(*fasthttp.RequestCtx) bool { return true } // refuseOtherOrigins has checked it
	upgrader := websocket.FastHTTPUpgrader{CheckOrigin: anyOrigin}
	err = upgrader.Upgrade(c.Context(), func(ws *websocket.Conn) {
		defer f.streams.Done()
		defer leave()
		if client != nil {
			defer context.AfterFunc(f.running, client.SetFinalWriteDeadline)()
		}
		s.ws = ws
		s.serve()
	})
	if err != nil {
		f.streams.Done()
		leave()
		return &handshakeError{problem: strings.TrimPrefix(err.Error(), "websocket: ")}
	}
	return nil
}

// socket is a WebSocket on one consumer.
type socket struct {
	facade   *Facade
	consumer jetstream.Consumer
	session  *session
	client   *transport.Conn // nil in tests without a connection

	writing sync.Mutex
	ws      *websocket.Conn

	mu     sync.Mutex
	wanted int           // messages that the client asked for and that were not sent yet
	pulled chan struct{} // gets a value when the client asks for more
}

// socketRequest is what a client sends.
type socketRequest struct {
	Type  string         `json:"type"`
	ID    jsontext.Value `json:"id"` // repeated in the answer
	Count int            `json:"count"`
	leaseRequest
}

// socketEvent is what the broker sends.
type socketEvent struct {
	Type    string          `json:"type"`
	ID      jsontext.Value  `json:"id,omitzero"`
	Message *messageView    `json:"message,omitzero"`
	Problem *problemDetails `json:"problem,omitzero"`
}

// serve sends messages and answers requests until the client hangs up or the broker stops.
func (s *socket) serve() {
	ctx, cancel := context.WithCancel(s.facade.running)
	var sending sync.WaitGroup
	sending.Go(func() {
		s.send(ctx)
		goodbye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "the broker ends this socket")
		_ = s.write(websocket.CloseMessage, goodbye)
		_ = s.ws.Close() // ends receive
		cancel()
	})

	s.receive(ctx)
	cancel()
	sending.Wait()
}

// receive answers the client's requests until it hangs up, or is silent for maxPings heartbeats.
func (s *socket) receive(ctx context.Context) {
	s.ws.SetReadLimit(maxSocketRead)
	alive := func(string) error {
		return s.ws.SetReadDeadline(time.Now().Add(maxPings * s.facade.opts.Heartbeat))
	}
	s.ws.SetPongHandler(alive)

	// A client beyond its bytes a second is read more slowly: what it asked for is not lost.
	for s.session.payer().WaitForBytes(ctx) && alive("") == nil {
		_, text, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		s.session.payer().Charge(len(text))
		if err := s.session.check(); err != nil {
			_ = s.fail(nil, err)
			return
		}
		if s.answer(ctx, text) != nil {
			return
		}
	}
}

// answer does what one message of the client asks for. It returns an error only if it could not send its answer.
func (s *socket) answer(ctx context.Context, text []byte) error {
	var in socketRequest
	err := decode.StrictJSON(text, &in)
	if err == nil {
		err = s.handle(ctx, &in)
	}

	switch {
	case err != nil:
		return s.fail(in.ID, err)
	case in.ID != nil:
		return s.event(socketEvent{Type: "ok", ID: in.ID})
	}
	return nil
}

func (s *socket) handle(ctx context.Context, in *socketRequest) error {
	switch in.Type {
	case "pull":
		return s.pull(in.Count)
	case opAck, opNack, opExtend:
		// What the client asked for is done even if it hangs up now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.facade.opts.RequestTimeout)
		defer cancel()
		if err := s.facade.changeLeases(ctx, s.consumer, in.Type, &in.leaseRequest); err != nil {
			return err
		}
		return s.facade.sync(ctx)
	}
	problem := fmt.Sprintf("want pull, ack, nack or extend, not %.100q", in.Type)
	return &decode.FieldError{Field: "type", Problem: problem}
}

// pull notes that the client asks for count more messages.
func (s *socket) pull(count int) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if count < 1 || s.wanted+count > maxMessages {
		problem := fmt.Sprintf("want at least 1, and not more than %d that have not come yet", maxMessages)
		return &decode.FieldError{Field: "count", Problem: problem}
	}
	s.wanted += count
	select {
	case s.pulled <- struct{}{}:
	default:
	}
	return nil
}

// send sends messages, as many as the client asks for, until the socket or ctx ends.
func (s *socket) send(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.sendNext(ctx); err != nil {
			return
		}
	}
}

// sendNext sends the next messages. If none come within a heartbeat, it sends a ping.
func (s *socket) sendNext(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.facade.opts.Heartbeat)
	defer cancel()
	defer s.session.onChange(cancel)()
	if err := s.session.check(); err != nil {
		return errors.Join(err, s.fail(nil, err))
	}

	s.mu.Lock()
	wanted := s.wanted
	s.mu.Unlock()
	if wanted == 0 {
		select {
		case <-s.pulled:
			return nil
		case <-ctx.Done():
			return s.write(websocket.PingMessage, nil)
		}
	}
	return s.sendMessages(ctx, wanted)
}

// sendMessages waits for messages and sends at most wanted of them. If none come until ctx ends, it sends a ping.
func (s *socket) sendMessages(ctx context.Context, wanted int) error {
	hold := s.facade.holdUntil(ctx)
	defer hold.Give()
	limits := jetstream.Limits{Messages: min(wanted, streamMessages), Bytes: streamBytes, Memory: hold}
	views, failed := s.session.nextBatch(ctx, func(ctx context.Context) ([]messageView, error) {
		return s.facade.fetchViews(ctx, s.consumer, limits)
	})
	s.mu.Lock()
	s.wanted -= len(views)
	s.mu.Unlock()

	hold.shrink(2 * dataOf(views)) // as text, and as what is sent
	hold.begin(s.client)
	for i := range views {
		if err := s.event(socketEvent{Type: "message", Message: &views[i]}); err != nil {
			return err
		}
		hold.moved(views[i].size())
		views[i] = messageView{} // frees it
	}
	switch {
	case failed != nil:
		return errors.Join(failed, s.fail(nil, failed))
	case len(views) == 0:
		return s.write(websocket.PingMessage, nil)
	}
	return nil
}

// fail sends an error. The parameter id is that of the request which failed, nil if no request did.
func (s *socket) fail(id jsontext.Value, err error) error {
	details := s.facade.failLater(err)
	return s.event(socketEvent{Type: "error", ID: id, Problem: &details})
}

func (s *socket) event(e socketEvent) error {
	text, err := json.Marshal(e, jsonOptions)
	if err != nil {
		return err
	}
	if e.Message == nil { // messages have been charged
		s.session.payer().Charge(len(text))
	}
	return s.write(websocket.TextMessage, text)
}

// write sends one frame. The client has [transport.TransferTimeout] to take it.
func (s *socket) write(kind int, data []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(transport.TransferTimeout)); err != nil {
		return err
	}
	return s.ws.WriteMessage(kind, data)
}

// noUpgradeError is a request to a WebSocket's path that does not ask for an upgrade.
type noUpgradeError struct{}

func (*noUpgradeError) Error() string {
	return "this is a WebSocket: ask for an upgrade, or use fetch or stream"
}

// handshakeError is a request for a WebSocket that breaks the rules of the protocol.
type handshakeError struct{ problem string }

func (e *handshakeError) Error() string { return e.problem }
