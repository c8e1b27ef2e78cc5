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

	"dq/cmd/broker"
	"dq/facade"
	engine "dq/jetstream"
)

// empty is an HTTP server with the settings of the facade's, whose handlers read
// what those of the broker read and answer at once.
type empty struct {
	app     *fiber.App
	url     string
	serving sync.WaitGroup
}

func startEmpty(size int) (*empty, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cfg := facade.ServerConfig()
	cfg.BodyLimit = 64 << 20
	e := &empty{app: fiber.New(cfg), url: "http://" + l.Addr().String()}
	answer := func(c *fiber.Ctx, body string) error {
		c.Context().SetContentType(jsonType)
		return c.SendString(body)
	}
	e.app.Post(producePath, func(c *fiber.Ctx) error {
		var in struct {
			Topic      *string `json:"topic"`
			ProducerID *int    `json:"producer_id"`
			Message    *string `json:"message"`
		}
		if err := json.Unmarshal(c.Body(), &in); err != nil {
			return err
		}
		return answer(c, `{"status":"success"}`)
	})
	message := fmt.Sprintf(`{"status":"success","message":"%s"}`, strings.Repeat("x", size))
	e.app.Get("/consumer/consume", func(c *fiber.Ctx) error {
		if c.Query("topic") == "" || c.Query("consumer_id") == "" {
			return fiber.ErrBadRequest
		}
		return answer(c, message)
	})
	e.serving.Go(func() { _ = e.app.Listener(l) })
	return e, nil
}

func (e *empty) stop() {
	_ = e.app.ShutdownWithTimeout(time.Second)
	e.serving.Wait()
}

// produce and consume make the broker's calls to the empty handlers.
func (e *empty) produce(o Options) (Work, func()) {
	c := newClient(e.url, o.Connections)
	body := produceBody("bench-0", 0, o.Size)
	return Work{"empty handler", func(context.Context, int) (int, error) {
		return 1, c.do("POST", producePath, jsonType, body, expect(200))
	}}, c.close
}

func (e *empty) consume(o Options) (Work, func()) {
	c := newClient(e.url, o.Connections)
	return Work{"empty handler", func(context.Context, int) (int, error) {
		return 1, c.do("GET", "/consumer/consume?topic=bench-0&consumer_id=0", "", nil, expect(200))
	}}, c.close
}

// raw is an engine of its own, used straight.
type raw struct {
	server *engine.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

func startRaw(ctx context.Context, cfg broker.Config, dir string) (*raw, error) {
	opts := engine.ServerOptions{SyncInterval: cfg.SyncInterval, MaxMessageBytes: cfg.MaxMessageBytes, Logger: quiet}
	storage := jetstream.MemoryStorage
	if cfg.Persist {
		opts.Dir, storage = dir, jetstream.FileStorage
	}
	server, err := engine.StartServer(opts)
	if err != nil {
		return nil, err
	}
	r := &raw{server: server}
	if r.conn, err = server.Connect(); err == nil {
		r.js, err = jetstream.New(r.conn)
	}
	if err == nil {
		_, err = r.js.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench"}, Storage: storage})
	}
	if err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *raw) stop() {
	if r.conn != nil {
		r.conn.Close()
	}
	r.server.Shutdown()
}

// publish waits for the confirmation of each message.
func (r *raw) publish(o Options) Work {
	data := make([]byte, o.Size)
	return Work{"JetStream, Publish", func(ctx context.Context, _ int) (int, error) {
		_, err := r.js.Publish(ctx, "bench", data)
		return 1, err
	}}
}

// publishAsync waits for the confirmations of as many messages at once as a
// batch has, or all connections together.
func (r *raw) publishAsync(o Options) Work {
	data := make([]byte, o.Size)
	n := max(o.Batch, 16)
	return Work{"JetStream, PublishAsync", func(context.Context, int) (int, error) {
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
	return Work{fmt.Sprintf("JetStream, Fetch(%d)", n), func(_ context.Context, i int) (int, error) {
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
