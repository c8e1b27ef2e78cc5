package facade

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

const (
	// maxSocketRead is the largest text that a client may send, in bytes.
	maxSocketRead = 1 << 20

	// A client has to answer one of so many pings, of which there is one every
	// heartbeat.
	maxPings = 3
)

// v1Socket opens a WebSocket on a consumer.
func (f *Facade) v1Socket(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	if !websocket.FastHTTPIsWebSocketUpgrade(c.Context()) {
		c.Set(fiber.HeaderUpgrade, "websocket")
		c.Set(fiber.HeaderConnection, "Upgrade")
		return nil, fiber.NewError(fiber.StatusUpgradeRequired, "this is a WebSocket: ask for an upgrade, or use fetch or stream")
	}
	if !f.originAllowed(c) {
		return nil, fiber.NewError(fiber.StatusForbidden, "pages of this origin may not open a WebSocket here; DQ_CORS_ORIGINS has those that may")
	}
	leave, err := f.waiters.Acquire(1)
	if err != nil {
		return nil, err
	}
	upgrader := websocket.FastHTTPUpgrader{CheckOrigin: func(*fasthttp.RequestCtx) bool { return true }}
	client, _ := c.Context().Conn().(*transport.Conn)
	session := f.session(c, consumer.Topic) // c ends before the socket begins
	f.streams.Add(1)
	err = upgrader.Upgrade(c.Context(), func(ws *websocket.Conn) {
		defer f.streams.Done()
		defer leave()
		if client != nil {
			defer context.AfterFunc(f.running, client.SetFinalWriteDeadline)()
		}
		s := &socket{facade: f, consumer: consumer, ws: ws, session: session, pulled: make(chan struct{}, 1)}
		s.serve()
	})
	if err != nil {
		f.streams.Done()
		leave()
		c.Set(fiber.HeaderSecWebSocketVersion, "13") // the one that there is
		return nil, fiber.NewError(fiber.StatusBadRequest, strings.TrimPrefix(err.Error(), "websocket: "))
	}
	return nil, nil
}

// originAllowed says whether a page of that origin may open a WebSocket; CORS
// does not hold for those.
func (f *Facade) originAllowed(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	return origin == "" || slices.ContainsFunc(strings.Split(f.opts.CORSOrigins, ","), func(allowed string) bool {
		allowed = strings.TrimSuffix(strings.TrimSpace(allowed), "/")
		if scheme, domain, found := strings.Cut(allowed, "://*."); found {
			return strings.HasPrefix(origin, scheme+"://") && strings.HasSuffix(origin, "."+domain)
		}
		return allowed == "*" || strings.EqualFold(allowed, origin)
	})
}

// socket is a WebSocket on one consumer.
type socket struct {
	facade   *Facade
	consumer jetstream.Consumer
	session  *session

	writing sync.Mutex
	ws      *websocket.Conn

	mu     sync.Mutex
	wanted int           // messages that the client asked for and has not got
	pulled chan struct{} // tells that it asked for more
}

// socketRequest is what a client sends.
type socketRequest struct {
	Type  string         `json:"type"`
	ID    jsontext.Value `json:"id"` // repeated in the answer
	Count int            `json:"count"`
	settlement
}

// socketEvent is what the broker sends.
type socketEvent struct {
	Type    string          `json:"type"`
	ID      jsontext.Value  `json:"id,omitzero"`
	Message *messageView    `json:"message,omitzero"`
	Problem *problemDetails `json:"problem,omitzero"`
}

// serve works until the client hangs up or the broker stops.
func (s *socket) serve() {
	ctx, cancel := context.WithCancel(s.facade.running)
	var sending sync.WaitGroup
	sending.Go(func() {
		s.send(ctx)
		_ = s.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "the broker ends this socket"))
		_ = s.ws.Close() // ends receive
	})
	s.receive(ctx)
	cancel()
	sending.Wait()
}

// receive does what the client asks for.
func (s *socket) receive(ctx context.Context) {
	s.ws.SetReadLimit(maxSocketRead)
	alive := func(string) error { return s.ws.SetReadDeadline(time.Now().Add(maxPings * s.facade.opts.Heartbeat)) }
	s.ws.SetPongHandler(alive)
	for alive("") == nil {
		_, text, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		if err := s.session.check(); err != nil {
			_ = s.fail(nil, err)
			return
		}
		var in socketRequest
		if err = decode.StrictJSON(text, &in); err == nil {
			err = s.handle(ctx, &in)
		}
		switch {
		case err != nil:
			err = s.fail(in.ID, err)
		case in.ID != nil:
			err = s.event(socketEvent{Type: "ok", ID: in.ID})
		}
		if err != nil {
			return
		}
	}
}

func (s *socket) handle(ctx context.Context, in *socketRequest) error {
	switch in.Type {
	case "pull":
		return s.pull(in.Count)
	case opAck, opNack, opExtend:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.facade.opts.RequestTimeout)
		defer cancel()
		if err := s.facade.settle(ctx, s.consumer, in.Type, &in.settlement); err != nil {
			return err
		}
		return s.facade.sync(ctx)
	}
	return &decode.FieldError{Field: "type", Problem: fmt.Sprintf("want pull, ack, nack or extend, not %.100q", in.Type)}
}

func (s *socket) pull(count int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if count < 1 || s.wanted+count > maxMessages {
		return &decode.FieldError{Field: "count", Problem: fmt.Sprintf("want at least 1, and not more than %d that have not come yet", maxMessages)}
	}
	s.wanted += count
	select {
	case s.pulled <- struct{}{}:
	default:
	}
	return nil
}

// send sends messages, as many as the client asks for.
func (s *socket) send(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.sendSome(ctx); err != nil {
			return
		}
	}
}

// sendSome sends what there is within a heartbeat, or a ping.
func (s *socket) sendSome(ctx context.Context) error {
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
	limits := jetstream.Limits{Messages: min(wanted, streamMessages), Bytes: streamBytes}
	views, failed := s.session.some(ctx, func(ctx context.Context) ([]messageView, error) { return s.fetch(ctx, limits) })
	s.mu.Lock()
	s.wanted -= len(views)
	s.mu.Unlock()
	for i := range views {
		if err := s.event(socketEvent{Type: "message", Message: &views[i]}); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		return errors.Join(failed, s.fail(nil, failed))
	case len(views) == 0:
		return s.write(websocket.PingMessage, nil)
	}
	return nil
}

// fetch waits for messages.
func (s *socket) fetch(ctx context.Context, limits jetstream.Limits) ([]messageView, error) {
	deliveries, err := s.facade.fetchSome(ctx, s.consumer, limits)
	if err != nil {
		return nil, err
	}
	views := make([]messageView, len(deliveries))
	for i, d := range deliveries {
		views[i] = viewDelivery(d)
	}
	return views, nil
}

// fail sends an error, with the id of the request that it is about.
func (s *socket) fail(id jsontext.Value, err error) error {
	p := s.facade.problem(err)
	return s.event(socketEvent{Type: "error", ID: id, Problem: &p})
}

func (s *socket) event(e socketEvent) error {
	text, err := json.Marshal(e, jsonOptions)
	if err != nil {
		return err
	}
	return s.write(websocket.TextMessage, text)
}

func (s *socket) write(kind int, data []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.ws.SetWriteDeadline(time.Now().Add(transport.TransferTimeout)); err != nil {
		return err
	}
	return s.ws.WriteMessage(kind, data)
}
