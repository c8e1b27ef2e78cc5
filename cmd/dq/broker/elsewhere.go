package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"dq/facade/service"
	"dq/jetstream"
	"dq/jetstream/engine"
)

const (
	// openTime bounds one attempt to open what an engine elsewhere stores. A cluster elects its leaders within it.
	openTime = 15 * time.Second

	// openPause is the pause between two attempts.
	openPause = time.Second

	// probeTime bounds how long an engine elsewhere may take to say that it is ready.
	probeTime = 2 * time.Second
)

// errStarting is why calls fail before the first attempt has ended.
var errStarting = errors.New("the broker is connecting to the NATS servers")

// startElsewhere starts a broker whose engine is that of DQ_NATS_URL. HTTP is served at once; as long as the engine
// cannot be used, calls fail, and /readyz says why. It fails at once if waiting does not help.
func (b *Broker) startElsewhere(ctx context.Context) error {
	queue := &service.Service{MaxMessageBytes: b.cfg.MaxMessageBytes}
	b.closed.Store(&errStarting)
	b.serve(queue)

	for said := ""; ; {
		err := b.openElsewhere(ctx, queue)
		if err == nil {
			break
		}
		b.closeStore()
		err = fmt.Errorf("DQ_NATS_URL: %w", err)
		if !jetstream.MayPass(err) {
			return err
		}

		if b.closed.Store(&err); err.Error() != said {
			said = err.Error()
			b.logger.Warn("waiting for the NATS servers", "error", err)
		}
		select {
		case <-time.After(openPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	b.closed.Store(nil)
	b.logger.Info("dq is ready", "url", b.URL(), "data", b.conn.ConnectedUrlRedacted())
	return nil
}

// openElsewhere connects to the engine and opens what it stores.
func (b *Broker) openElsewhere(ctx context.Context, queue *service.Service) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()

	login := nats.UserInfo(b.cfg.NATSUser, b.cfg.NATSPassword)
	err := b.connect(func() (*nats.Conn, error) { return engine.Connect(b.cfg.NatsURL, b.logger, login) })
	if err != nil {
		return err
	}
	if err := jetstream.CheckServers(ctx, b.conn); err != nil {
		return err
	}
	if limit := b.conn.MaxPayload(); limit < int64(b.cfg.MaxMessageBytes) {
		b.logger.Warn("the NATS servers take smaller messages than DQ_MAX_MESSAGE_BYTES, and larger ones are refused: "+
			"raise their max_payload", "max_payload", limit, "max_message_bytes", b.cfg.MaxMessageBytes)
	}

	opened, err := b.openService(ctx)
	if err == nil {
		*queue = *opened
	}
	return err
}

// starting returns why calls cannot be answered yet, nil if they can.
func (b *Broker) starting() error {
	if err := b.closed.Load(); err != nil {
		return *err
	}
	return nil
}

// readyElsewhere returns an error if the engine elsewhere does not do its work.
func (b *Broker) readyElsewhere(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := b.topics.CheckLeader(ctx); err != nil {
		return fmt.Errorf("the NATS servers cannot be used now: %w", err)
	}
	return nil
}
