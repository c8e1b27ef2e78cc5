package bench

import (
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"dq/facade/transport"
)

// emptyHandler is the baseline of HTTP: a server with the settings of the facade's. Its
// handlers decode the same requests as the broker's and answer at once.
type emptyHandler struct {
	app     *fiber.App
	url     string
	serving sync.WaitGroup
}

// classicBody is the body of a classic produce.
type classicBody struct {
	Topic      *string `json:"topic"`
	ProducerID *int    `json:"producer_id"`
	Message    *string `json:"message"`
}

// batchMessage is one message in the body of a produce under /v1.
type batchMessage struct {
	Data *string `json:"data"`
}

// ackBody is the body of an acknowledgement.
type ackBody struct {
	Tokens []string `json:"tokens"`
}

// startEmptyHandler starts a server on a free port of this machine.
func startEmptyHandler(o Options) (*emptyHandler, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}

	cfg := transport.ServerConfig()
	cfg.BodyLimit = 64 << 20
	e := &emptyHandler{app: fiber.New(cfg), url: "http://" + listener.Addr().String()}

	// The answers have the size of the broker's.
	const stored = `{"sequence":1,"time":"2026-01-31T12:00:00.000000Z"`
	data := strings.Repeat("x", o.Size)
	receipts := `{"messages":` + jsonArray(stored+"}", o.Batch) + "}"
	batch := `{"messages":` + jsonArray(stored+`,"data":"`+data+`"}`, o.Batch) + "}"

	e.app.Post(producePath, readBody[classicBody](200, `{"status":"success"}`))
	e.app.Post("/v1/topics/:topic/messages", readBody[[]batchMessage](201, receipts))
	e.app.Get("/consumer/consume", readQuery(`{"status":"success","message":"`+data+`"}`, "topic", "consumer_id"))
	e.app.Post("/v1/topics/:topic/consumers/:id/fetch", readQuery(batch, "limit"))

	const token = "1.1.JEpTLkFDSy5kcV9iZW5jaC0wLmlkLTEuMS4xLjEuMTc5NTg5NzU1ODg3OTgzMDQxMi4w"
	leased := `{"messages":` + jsonArray(stored+`,"data":"`+data+`","token":"`+token+`"}`, o.Batch) + "}"
	e.app.Post("/work/fetch", readQuery(leased, "limit"))
	e.app.Post("/work/ack", readBody[ackBody](204, ""))

	e.serving.Go(func() { _ = e.app.Listener(listener) })
	return e, nil
}

// readBody returns a handler that decodes the body into a T and answers.
func readBody[T any](status int, answer string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := json.Unmarshal(c.Body(), new(T)); err != nil {
			return err
		}
		c.Context().SetContentType(jsonType)
		return c.Status(status).SendString(answer)
	}
}

// readQuery returns a handler that parses these parameters of the query and answers.
func readQuery(answer string, names ...string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		for _, name := range names {
			if c.Query(name) == "" {
				return fiber.ErrBadRequest
			}
		}
		c.Context().SetContentType(jsonType)
		return c.SendString(answer)
	}
}

func (e *emptyHandler) stop() {
	_ = e.app.ShutdownWithTimeout(time.Second)
	e.serving.Wait()
}

// produce returns the work of making the broker's produce calls to the empty handler.
func (e *emptyHandler) produce(o Options) (_ Work, stop func()) {
	c := newClient(e.url, o.Connections, "")
	calls := produceCalls{client: c, prefix: "bench", producers: make([]int64, o.Topics), o: o}
	return calls.work("empty handler"), c.close
}

// consume returns the work of making the broker's consume calls to the empty handler.
// It never ends for lack of messages.
func (e *emptyHandler) consume(o Options) (_ Work, stop func()) {
	c := newClient(e.url, o.Connections, "")
	calls := consumeCalls{client: c, paths: []string{consumePath("bench-0", 0, o)}, whenEmpty: endRound, o: o}
	return calls.work("empty handler"), c.close
}

// lease returns the work of making the calls of workers to the empty handler. It never ends for lack of messages.
func (e *emptyHandler) lease(o Options) (_ Work, stop func()) {
	c := newClient(e.url, o.Connections, "")
	return leaseCalls{client: c, paths: []string{"/work"}, o: o}.work("empty handler"), c.close
}
