package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go"

	"dq/facade"
	"dq/facade/access"
	"dq/facade/service"
	"dq/jetstream"
	"dq/jetstream/engine"
	"dq/registry"
)

// A Broker is a running broker.
type Broker struct {
	cfg      Config
	listener net.Listener
	engine   *engine.Server // nil if it is another process
	conn     *nats.Conn
	registry *registry.Registry
	delayer  *jetstream.Delayer
	facade   *facade.Facade
	tokens   *access.Tokens // nil: everybody may do everything
	tls      *access.TLS    // nil: plain HTTP
	audit    *access.Audit  // nil: none

	serving sync.WaitGroup
	failed  chan error // gets the error that ended serving early

	stop    sync.Once
	stopErr error
}

// Start starts a broker and returns when it answers requests. Stop ends it.
func Start(ctx context.Context, cfg Config, logger *slog.Logger) (_ *Broker, err error) {
	b := &Broker{cfg: cfg, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	// The port first: it is the likeliest to be taken, and quick to find out.
	if b.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("listen on DQ_ADDR=%s: %w", cfg.Addr, err)
	}
	if err := b.openAccess(logger); err != nil {
		return nil, err
	}
	store, err := b.connect(logger)
	if err != nil {
		return nil, err
	}
	queue, err := b.open(ctx, logger)
	if err != nil {
		return nil, err
	}
	queue.MaxMessageBytes = cfg.MaxMessageBytes
	origins := cfg.CORSOrigins
	if origins == "none" {
		origins = ""
	}
	listener := b.listener
	if b.tls != nil {
		listener = tls.NewListener(listener, b.tls.Config())
	}
	b.facade = facade.New(queue, listener, facade.Options{
		CORSOrigins:    origins,
		DrainDelay:     b.cfg.DrainDelay,
		Tokens:         b.tokens,
		Audit:          b.audit,
		RequestTimeout: cfg.RequestTimeout,
		Heartbeat:      cfg.Heartbeat,
		Sync:           b.sync(),
		Ready:          b.ready,
		Logger:         logger,
	})
	b.serving.Go(func() {
		if err := b.facade.Serve(); err != nil {
			b.failed <- err
		}
	})
	logger.Info("dq is ready", "url", b.URL(), "data", store, "durability", string(cfg.Durability))
	return b, nil
}

// openAccess opens what says who may use the broker.
func (b *Broker) openAccess(logger *slog.Logger) (err error) {
	if b.cfg.Tokens != "" {
		if b.tokens, err = access.Open(b.cfg.Tokens, logger); err != nil {
			return fmt.Errorf("DQ_TOKENS=%s: %w", b.cfg.Tokens, err)
		}
	} else if !b.cfg.local() {
		logger.Warn("everybody who can reach this address may do everything: set DQ_TOKENS", "addr", b.cfg.Addr)
	}
	if b.cfg.TLSCert != "" {
		files := access.TLSFiles{Cert: b.cfg.TLSCert, Key: b.cfg.TLSKey, ClientCA: b.cfg.TLSClientCA}
		if b.tls, err = access.OpenTLS(files, logger); err != nil {
			return fmt.Errorf("DQ_TLS_CERT: %w", err)
		}
	}
	if b.cfg.AuditLog != "" {
		if b.audit, err = access.OpenAudit(b.cfg.AuditLog, logger); err != nil {
			return fmt.Errorf("DQ_AUDIT_LOG=%s: %w", b.cfg.AuditLog, err)
		}
	}
	return nil
}

// connect connects to the engine, and starts it unless it is another process.
// Store is where it keeps its data, in words.
func (b *Broker) connect(logger *slog.Logger) (store string, err error) {
	if b.cfg.NATSURL != "" {
		b.conn, err = engine.Connect(b.cfg.NATSURL, nats.UserInfo(b.cfg.NATSUser, b.cfg.NATSPassword))
		if err != nil {
			return "", fmt.Errorf("DQ_NATS_URL: %w", err)
		}
		return b.conn.ConnectedUrlRedacted(), nil
	}
	store, dir := "memory", ""
	if b.cfg.Persist {
		if dir, err = filepath.Abs(b.cfg.DataDir); err != nil {
			return "", fmt.Errorf("DQ_DATA_DIR=%s: %w", b.cfg.DataDir, err)
		}
		store = dir
	}
	b.engine, err = engine.Start(engine.Options{
		Dir:             dir,
		SyncAlways:      b.cfg.Durability == SyncAlways,
		SyncInterval:    b.cfg.SyncInterval,
		MaxMessageBytes: b.cfg.MaxMessageBytes,
		Addr:            b.cfg.NATSAddr,
		User:            b.cfg.NATSUser,
		Password:        b.cfg.NATSPassword,
		Logger:          logger,
	})
	if err != nil {
		return "", err
	}
	b.conn, err = b.engine.Connect()
	return store, err
}

// open opens what a facade serves.
func (b *Broker) open(ctx context.Context, logger *slog.Logger) (*service.Service, error) {
	store := jetstream.StoreOptions{
		Storage:  jetstream.Memory,
		Replicas: b.cfg.Replicas,
		Sync:     b.sync(),

		CallTimeout: b.cfg.RequestTimeout,
	}
	if b.engine != nil {
		store.CheckSpace = b.engine.CheckSpace
		store.Flush = b.engine.Flush
		store.RemoveDeletedFiles = b.engine.RemoveDeletedFiles
		store.Alone = b.cfg.NATSAddr == ""
	}
	if b.cfg.Persist {
		store.Storage = jetstream.File
	}
	topics, err := jetstream.NewTopics(b.conn, store)
	if err != nil {
		return nil, err
	}
	consumers, err := jetstream.NewConsumers(ctx, topics)
	if err != nil {
		return nil, err
	}
	if b.registry, err = registry.Open(ctx, b.conn, store.Storage, store.Replicas); err != nil {
		return nil, err
	}
	if store.Alone {
		if err := b.rewind(ctx, consumers, logger); err != nil {
			return nil, err
		}
	}
	if b.delayer, err = jetstream.StartDelayer(ctx, topics, logger); err != nil {
		return nil, err
	}
	return &service.Service{Topics: topics, Delayer: b.delayer, Consumers: consumers, Registry: b.registry}, nil
}

// rewind has no consumer stand behind messages that a power cut took.
func (b *Broker) rewind(ctx context.Context, consumers *jetstream.Consumers, logger *slog.Logger) error {
	var all []jetstream.Consumer
	err := b.registry.EachConsumer(ctx, func(topic string, id int64, start uint64) {
		all = append(all, jetstream.Consumer{ID: id, Topic: topic, Start: start})
	})
	if err != nil {
		return err
	}
	rewound, err := consumers.Rewind(ctx, all)
	if rewound > 0 {
		logger.Warn("the newest messages of a topic are gone, as a power cut may take those of the last DQ_SYNC_INTERVAL; its consumers go on behind what is left", "consumers", rewound)
	}
	return err
}

// sync brings what was stored to the disk; nil if that is not for this process
// to do.
func (b *Broker) sync() func(context.Context) error {
	if b.engine == nil || b.cfg.Durability != SyncAlways {
		return nil
	}
	return b.engine.Sync
}

// URL is where the broker answers.
func (b *Broker) URL() string {
	scheme := "http://"
	if b.tls != nil {
		scheme = "https://"
	}
	return scheme + b.listener.Addr().String()
}

// Failed gets an error if the broker stops serving by itself.
func (b *Broker) Failed() <-chan error { return b.failed }

// Stop finishes the requests under way, within the shutdown timeout, then stops
// the engine. It returns an error if requests had to be cut off. A further call
// returns what the first one returned.
func (b *Broker) Stop(ctx context.Context) error {
	b.stop.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, b.cfg.DrainDelay+b.cfg.ShutdownTimeout)
		defer cancel()
		if err := b.facade.Shutdown(ctx); err != nil {
			b.stopErr = fmt.Errorf("requests were cut off after DQ_SHUTDOWN_TIMEOUT=%s: %w", b.cfg.ShutdownTimeout, err)
		}
		b.release()
		b.serving.Wait()
	})
	return b.stopErr
}

// release frees what Start took, as far as it got.
func (b *Broker) release() {
	if b.listener != nil {
		_ = b.listener.Close()
	}
	if b.delayer != nil {
		b.delayer.Stop()
	}
	if b.registry != nil {
		b.registry.Close()
	}
	if b.conn != nil {
		b.conn.Close()
	}
	if b.engine != nil {
		b.engine.Shutdown()
	}
	if b.tokens != nil {
		b.tokens.Close()
	}
	if b.tls != nil {
		b.tls.Close()
	}
	if b.audit != nil {
		_ = b.audit.Close()
	}
}

// ready says whether the engine answers.
func (b *Broker) ready(ctx context.Context) error {
	if !b.conn.IsConnected() {
		return errors.New("not connected to the storage engine")
	}
	if b.engine != nil {
		if err := b.engine.CheckSpace(0, 0); err != nil {
			return err
		}
	}
	if err := b.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("the storage engine does not answer: %w", err)
	}
	return nil
}

// NewLogger returns a logger that writes to w as cfg says.
func NewLogger(w io.Writer, cfg Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
