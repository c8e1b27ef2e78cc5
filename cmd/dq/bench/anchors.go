package bench

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/cmd/dq/broker"
	"dq/facade/transport"
	"dq/jetstream/engine"
)

// empty is an HTTP server with the settings of the facade's, whose handlers read
// what those of the broker read and answer at once.
type empty struct {
	app     *fiber.App
	url     string
	serving sync.WaitGroup
}

func startEmpty(o Options) (*empty, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cfg := transport.ServerConfig()
	cfg.BodyLimit = 64 << 20
	e := &empty{app: fiber.New(cfg), url: "http://" + l.Addr().String()}
	e.app.Post(producePath, reads(func() any {
		return new(struct {
			Topic      *string `json:"topic"`
			ProducerID *int    `json:"producer_id"`
			Message    *string `json:"message"`
		})
	}, 200, `{"status":"success"}`))
	const place = `{"sequence":1,"time":"2026-01-31T12:00:00.000000Z"`
	e.app.Post("/v1/topics/:topic/messages", reads(func() any {
		return new([]struct {
			Data *string `json:"data"`
		})
	}, 201, `{"messages":`+list(place+"}", o.Batch)+"}"))
	data := strings.Repeat("x", o.Size)
	e.app.Get("/consumer/consume", queries(`{"status":"success","message":"`+data+`"}`, "topic", "consumer_id"))
	e.app.Post("/v1/topics/:topic/consumers/:id/fetch", queries(`{"messages":`+list(place+`,"data":"`+data+`"}`, o.Batch)+"}", "limit"))
	e.serving.Go(func() { _ = e.app.Listener(l) })
	return e, nil
}

// reads decodes the body into what into makes, and answers.
func reads(into func() any, status int, body string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := json.Unmarshal(c.Body(), into()); err != nil {
			return err
		}
		c.Context().SetContentType(jsonType)
		return c.Status(status).SendString(body)
	}
}

// queries parses these of the query, and answers.
func queries(body string, names ...string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		for _, name := range names {
			if c.Query(name) == "" {
				return fiber.ErrBadRequest
			}
		}
		c.Context().SetContentType(jsonType)
		return c.SendString(body)
	}
}

func (e *empty) stop() {
	_ = e.app.ShutdownWithTimeout(time.Second)
	e.serving.Wait()
}

// produce and consume make the broker's calls to the empty handlers.
func (e *empty) produce(o Options) (Work, func()) {
	c := newClient(e.url, o.Connections, "")
	return produce("empty handler", c, "bench", make([]int64, o.Topics), o), c.close
}

func (e *empty) consume(o Options) (Work, func()) {
	c := newClient(e.url, o.Connections, "")
	return consume("empty handler", c, []string{consumePath("bench-0", 0, o)}, o, func() error { return errDone }), c.close
}

// raw is an engine with nothing of ours around it, used straight.
type raw struct {
	server *engine.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

func startRaw(ctx context.Context, cfg broker.Config, dir string) (_ *raw, err error) {
	r := &raw{}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()
	// With durability always it is the engine's own way, a sync for each message.
	r.server, err = engine.StartBare(engine.Options{
		Dir: dir, MaxMessageBytes: 1 << 20, SyncInterval: cfg.SyncInterval,
		SyncAlways: bool(cfg.Persist) && cfg.Durability == broker.SyncAlways,
	})
	if err != nil {
		return nil, err
	}
	if r.conn, err = r.server.Connect(); err != nil {
		return nil, err
	}
	if r.js, err = jetstream.New(r.conn); err != nil {
		return nil, err
	}
	storage := jetstream.MemoryStorage
	if cfg.Persist {
		storage = jetstream.FileStorage
	}
	_, err = r.js.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench", "bench.*"}, Storage: storage})
	return r, err
}

func (r *raw) stop() {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server != nil {
		r.server.Shutdown()
	}
}

// publish waits for the confirmation of each message.
func (r *raw) publish(o Options) Work {
	data := make([]byte, o.Size)
	return Work{Name: "JetStream, Publish", Do: func(ctx context.Context, _ int) (int, error) {
		_, err := r.js.Publish(ctx, "bench", data)
		return 1, err
	}}
}

// publishAsync waits for the confirmations of as many messages at once as a
// batch has, and of 16 at least: it is what the engine takes when it is not
// asked for each.
func (r *raw) publishAsync(o Options) Work {
	data := make([]byte, o.Size)
	n := max(o.Batch, 16)
	return Work{Name: "JetStream, PublishAsync", Batch: n, Do: func(context.Context, int) (int, error) {
		acks := make([]jetstream.PubAckFuture, n)
		for i := range acks {
			var err error
			if acks[i], err = r.js.PublishAsync("bench", data); err != nil {
				return 0, err
			}
		}
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				return 0, err
			}
		}
		return n, nil
	}}
}

// fetch fetches as many messages as the engine has for those, and confirms them
// all by confirming the last.
func (r *raw) fetch(ctx context.Context, messages int, o Options) (Work, error) {
	fill := r.publishAsync(Options{Size: o.Size, Batch: 1000})
	for done := 0; done < messages; {
		sent, err := fill.Do(ctx, 0)
		if err != nil {
			return Work{}, err
		}
		done += sent
	}
	consumers := make([]jetstream.Consumer, min(o.Consumers, o.Connections))
	for i := range consumers {
		var err error
		consumers[i], err = r.js.CreateConsumer(ctx, "bench", jetstream.ConsumerConfig{
			Durable: fmt.Sprintf("c%d", i), AckPolicy: jetstream.AckAllPolicy, MaxAckPending: -1,
		})
		if err != nil {
			return Work{}, err
		}
	}
	n := 1
	if o.Batch > 1 {
		n = 200
	}
	return Work{Name: fmt.Sprintf("JetStream, Fetch(%d)", n), Batch: n, Do: func(_ context.Context, i int) (int, error) {
		batch, err := consumers[i%len(consumers)].FetchNoWait(n)
		if err != nil {
			return 0, err
		}
		got := 0
		var last jetstream.Msg
		for last = range batch.Messages() {
			got++
		}
		if last == nil {
			return 0, errDone
		}
		return got, last.DoubleAck(context.Background())
	}}, nil
}

// latency publishes, and waits for the message at a consumer that is open.
func (r *raw) latency(ctx context.Context, o Options) (_ Work, stop func(), err error) {
	data := make([]byte, max(o.Size, digitsOfNumber))
	open := make([]jetstream.MessagesContext, 0, o.Connections)
	stop = func() {
		for _, messages := range open {
			messages.Stop()
		}
	}
	for i := range o.Connections {
		var messages jetstream.MessagesContext
		consumer, err := r.js.CreateConsumer(ctx, "bench", jetstream.ConsumerConfig{
			FilterSubject: topicName("bench.t", i), AckPolicy: jetstream.AckNonePolicy,
		})
		if err == nil {
			messages, err = consumer.Messages()
		}
		if err != nil {
			stop()
			return Work{}, nil, err
		}
		open = append(open, messages)
	}
	return Work{Name: "JetStream, Publish to Messages", Do: func(ctx context.Context, i int) (int, error) {
		if _, err := r.js.Publish(ctx, topicName("bench.t", i), data); err != nil {
			return 0, err
		}
		_, err := open[i].Next(jetstream.NextContext(ctx))
		return 1, err
	}}, stop, nil
}
