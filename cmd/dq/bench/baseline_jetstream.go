package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/cmd/dq/broker"
	"dq/jetstream/engine"
)

// rawJetStream is the baseline of storage: an engine without dq around it, used
// directly.
type rawJetStream struct {
	server *engine.Server
	conn   *nats.Conn
	js     jetstream.JetStream
}

// rawStream is the stream of the baseline.
const rawStream = "bench"

// startRawJetStream starts an engine with the storage and durability of cfg and its
// data in dir.
func startRawJetStream(ctx context.Context, cfg broker.Config, dir string) (_ *rawJetStream, err error) {
	r := &rawJetStream{}
	defer func() {
		if err != nil {
			r.stop()
		}
	}()

	// With durability "always" the engine syncs each message in its own way.
	r.server, err = engine.StartBare(engine.Options{
		Dir: dir, SyncInterval: cfg.SyncInterval, MaxMessageBytes: 1 << 20,
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
	_, err = r.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: rawStream, Subjects: []string{"bench", "bench.*"}, Storage: storage,
	})
	return r, err
}

func (r *rawJetStream) stop() {
	if r.conn != nil {
		r.conn.Close()
	}
	if r.server != nil {
		r.server.Shutdown()
	}
}

// publish returns the work of publishing and waiting for the confirmation of each
// message.
func (r *rawJetStream) publish(o Options) Work {
	data := make([]byte, o.Size)
	return Work{Name: "JetStream, Publish", Do: func(ctx context.Context, _ int) (int, error) {
		_, err := r.js.Publish(ctx, "bench", data)
		return 1, err
	}}
}

// publishAsync returns the work of publishing the messages of a batch, at least 16, and
// then waiting for all their confirmations. It is the fastest way to publish.
func (r *rawJetStream) publishAsync(o Options) Work {
	data := make([]byte, o.Size)
	n := max(o.Batch, 16)
	return Work{Name: "JetStream, PublishAsync", Batch: n, Do: func(context.Context, int) (int, error) {
		return n, r.publishAll(data, n)
	}}
}

// publishAll publishes data n times and waits for the confirmations.
func (r *rawJetStream) publishAll(data []byte, n int) error {
	acks := make([]jetstream.PubAckFuture, n)
	for i := range acks {
		var err error
		if acks[i], err = r.js.PublishAsync("bench", data); err != nil {
			return err
		}
	}

	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		}
	}
	return nil
}

// fetch stores that many messages and returns the work of fetching them, as many at
// once as the engine has ready. It confirms all messages of a fetch by confirming the
// last.
func (r *rawJetStream) fetch(ctx context.Context, messages int, o Options) (Work, error) {
	if err := r.store(messages, o); err != nil {
		return Work{}, err
	}
	consumers := make([]jetstream.Consumer, min(o.Consumers, o.Connections))
	for i := range consumers {
		var err error
		consumers[i], err = r.js.CreateConsumer(ctx, rawStream, jetstream.ConsumerConfig{
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
	name := fmt.Sprintf("JetStream, Fetch(%d)", n)
	return Work{Name: name, Batch: n, Do: func(_ context.Context, i int) (int, error) {
		return fetchAndAck(consumers[i%len(consumers)], n)
	}}, nil
}

// store stores that many messages.
func (r *rawJetStream) store(messages int, o Options) error {
	const storeAtOnce = 1000
	data := make([]byte, o.Size)
	for stored := 0; stored < messages; stored += storeAtOnce {
		if err := r.publishAll(data, storeAtOnce); err != nil {
			return err
		}
	}
	return nil
}

// lease stores that many messages and returns the work of fetching them from durable consumers, as many at once as a
// batch has, and acknowledging each. As many messages as the options say are in flight from the beginning on.
func (r *rawJetStream) lease(ctx context.Context, messages int, o Options) (Work, error) {
	if err := r.store(messages, o); err != nil {
		return Work{}, err
	}

	consumers := make([]jetstream.Consumer, min(o.Consumers, o.Connections))
	for i := range consumers {
		consumer, err := r.js.CreateConsumer(ctx, rawStream, jetstream.ConsumerConfig{
			Durable: fmt.Sprintf("w%d", i), AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: time.Hour, MaxAckPending: -1,
		})
		if err != nil {
			return Work{}, err
		}
		if err := hold(consumer, o.InFlight); err != nil {
			return Work{}, err
		}
		consumers[i] = consumer
	}

	name := fmt.Sprintf("JetStream, FetchNoWait(%d) and Ack", o.Batch)
	return Work{Name: name, Do: func(_ context.Context, i int) (int, error) {
		batch, err := consumers[i%len(consumers)].FetchNoWait(o.Batch)
		if err != nil {
			return 0, err
		}
		n := 0
		for m := range batch.Messages() {
			n++
			err = errors.Join(err, m.Ack())
		}
		if n == 0 && err == nil {
			err = errRoundOver
		}
		return n, err
	}}, nil
}

// hold fetches that many messages and does not acknowledge them.
func hold(consumer jetstream.Consumer, messages int) error {
	for held := 0; held < messages; held += holdAtOnce {
		batch, err := consumer.FetchNoWait(min(messages-held, holdAtOnce))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			_ = m // it counts as in flight from now on
		}
	}
	return nil
}

// fetchAndAck fetches up to n messages, confirms them, and returns how many there were.
// Errors: errRoundOver if there was none.
func fetchAndAck(consumer jetstream.Consumer, n int) (fetched int, err error) {
	batch, err := consumer.FetchNoWait(n)
	if err != nil {
		return 0, err
	}

	var last jetstream.Msg
	for last = range batch.Messages() {
		fetched++
	}
	if last == nil {
		return 0, errRoundOver
	}
	return fetched, last.DoubleAck(context.Background())
}

// latency returns the work of publishing a message and waiting until a consumer, which
// is already open, has it. Each connection has a subject and a consumer of its own.
func (r *rawJetStream) latency(ctx context.Context, o Options) (_ Work, stop func(), err error) {
	data := make([]byte, max(o.Size, numberDigits))
	open := make([]jetstream.MessagesContext, 0, o.Connections)
	stop = func() {
		for _, messages := range open {
			messages.Stop()
		}
	}

	for i := range o.Connections {
		messages, err := r.openConsumer(ctx, topicName("bench.t", i))
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

// openConsumer opens a consumer without acknowledgements on a subject.
func (r *rawJetStream) openConsumer(ctx context.Context, subject string) (jetstream.MessagesContext, error) {
	consumer, err := r.js.CreateConsumer(ctx, rawStream, jetstream.ConsumerConfig{
		FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages()
}
