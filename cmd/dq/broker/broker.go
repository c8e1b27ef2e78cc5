package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"dq/facade"
	"dq/facade/access"
	"dq/facade/service"
	"dq/jetstream"
	"dq/jetstream/engine"
	"dq/registry"
)

// A Broker is a running broker: the storage engine, or a connection to one, and the HTTP server in front of it.
type Broker struct {
	cfg      Config
	logger   *slog.Logger
	listener net.Listener
	engine   *engine.Server // nil if it is another process
	conn     *nats.Conn
	reads    *nats.Conn // the connection for messages that are read
	topics   *jetstream.Topics
	registry *registry.Registry
	delayer  *jetstream.Delayer
	facade   *facade.Facade
	tokens   *access.Tokens // nil: everybody may do everything
	tls      *access.TLS    // nil: plain HTTP
	audit    *access.Audit  // nil: administrative calls are not recorded
	clients  *natsClients   // nil: no NATS client may show a token

	serving sync.WaitGroup
	failed  chan error            // receives the error that ended serving early
	closed  atomic.Pointer[error] // why calls cannot be answered yet; nil if they can

	stop    sync.Once
	stopErr error
}

// Start starts a broker and returns when it answers requests. Stop ends it.
func Start(ctx context.Context, cfg Config, logger *slog.Logger) (*Broker, error) {
	b := &Broker{cfg: cfg, logger: logger, failed: make(chan error, 1)}
	if err := b.start(ctx); err != nil {
		_ = b.stopServing(context.Background()) // err says more
		b.release()
		b.serving.Wait()
		return nil, err
	}
	return b, nil
}

func (b *Broker) start(ctx context.Context) (err error) {
	// Listen first: a port that is taken is the likeliest failure, and shows at once.
	if b.listener, err = net.Listen("tcp", b.cfg.Addr); err != nil {
		return fmt.Errorf("listen on DQ_ADDR=%s: %w", b.cfg.Addr, err)
	}
	if err := b.checkNATSAddr(); err != nil {
		return err
	}
	if err := b.openAccess(); err != nil {
		return err
	}

	if b.cfg.NatsURL != "" {
		return b.startElsewhere(ctx)
	}

	data, err := b.openEngine()
	if err != nil {
		return err
	}
	queue, err := b.openService(ctx)
	if err != nil {
		return err
	}

	b.serve(queue)
	b.logger.Info("dq is ready", "url", b.URL(), "data", data, "durability", string(b.cfg.Durability))
	return nil
}

// checkNATSAddr returns an error if the engine could not listen for NATS clients. The engine itself would notice that
// only after it has read its store.
func (b *Broker) checkNATSAddr() error {
	if b.cfg.NATSAddr == "" {
		return nil
	}
	l, err := net.Listen("tcp", b.cfg.NATSAddr)
	if err != nil {
		return fmt.Errorf("listen on DQ_NATS_ADDR=%s: %w", b.cfg.NATSAddr, err)
	}
	return l.Close()
}

// openAccess opens the tokens, the certificates and the audit log, as far as they are set.
func (b *Broker) openAccess() (err error) {
	if b.cfg.Open {
		b.logger.Warn("everybody who can reach this address may do everything: set DQ_TOKENS", "addr", b.cfg.Addr)
	}
	if b.cfg.Tokens != "" {
		if b.tokens, err = access.Open(b.cfg.Tokens, b.logger); err != nil {
			return fmt.Errorf("DQ_TOKENS=%s: %w", b.cfg.Tokens, err)
		}
	}

	if b.cfg.TLSCert != "" {
		files := access.TLSFiles{Cert: b.cfg.TLSCert, Key: b.cfg.TLSKey, ClientCA: b.cfg.TLSClientCA}
		if b.tls, err = access.OpenTLS(files, b.logger); err != nil {
			return fmt.Errorf("DQ_TLS_CERT=%s: %w", b.cfg.TLSCert, err)
		}
	}

	if b.cfg.AuditLog != "" {
		if b.audit, err = access.OpenAudit(b.cfg.AuditLog, b.logger); err != nil {
			return fmt.Errorf("DQ_AUDIT_LOG=%s: %w", b.cfg.AuditLog, err)
		}
	}
	return nil
}

// openEngine starts the engine in this process and connects to it. It returns where the engine keeps its data, for the
// log.
func (b *Broker) openEngine() (data string, err error) {
	data, dir := "memory", ""
	if b.cfg.Persist {
		data, dir = b.cfg.DataDir, b.cfg.DataDir
	}
	b.engine, err = engine.Start(engine.Options{
		Dir:             dir,
		SyncAlways:      b.cfg.Durability == SyncAlways,
		SyncInterval:    b.cfg.SyncInterval,
		MaxMessageBytes: b.cfg.MaxMessageBytes,
		Port:            b.natsPort(),
		Required:        requiredStreams(),
		AcceptDamage:    b.acceptedDamage(),
		Logger:          b.logger,
	})
	if err != nil {
		return "", err
	}

	if b.clients != nil {
		b.clients.engine = b.engine
	}
	return data, b.connect(b.engine.Connect)
}

// natsPort returns where and how NATS clients may connect.
func (b *Broker) natsPort() engine.ClientPort {
	port := engine.ClientPort{Addr: b.cfg.NATSAddr, User: b.cfg.NATSUser, Password: b.cfg.NATSPassword}
	if port.Addr == "" {
		return port
	}
	if b.tls != nil {
		port.TLS = b.tls.Config()
	}
	if b.tokens != nil {
		b.clients = newNATSClients(b.tokens, b.tls, b.audit, b.logger)
		port.Login = b.clients.login
	}
	return port
}

// openPort lets NATS clients in.
func (b *Broker) openPort(topics *jetstream.Topics) error {
	if b.clients != nil {
		if err := b.clients.start(b.conn, topics); err != nil {
			return err
		}
	}
	if b.engine != nil {
		b.engine.OpenPort()
	}
	return nil
}

// requiredStreams returns the streams without which a broker cannot work, and what they hold.
func requiredStreams() map[string]string {
	streams := jetstream.RequiredStreams()
	streams[registry.Stream] = "the ids of producers and consumers"
	return streams
}

// acceptedDamage returns the streams that DQ_ACCEPT_DAMAGE names: those of topics, or others.
func (b *Broker) acceptedDamage() (streams []string) {
	for _, name := range b.cfg.AcceptDamage {
		streams = append(streams, name, jetstream.StreamName(name))
	}
	return streams
}

// connect opens the connections to the engine.
func (b *Broker) connect(open func() (*nats.Conn, error)) (err error) {
	if b.conn, err = open(); err != nil {
		return err
	}
	b.reads, err = open()
	return err
}

// openService opens what the engine stores and returns the operations on it.
func (b *Broker) openService(ctx context.Context) (*service.Service, error) {
	store := b.storeOptions()
	topics, err := jetstream.NewTopics(b.conn, store)
	if err != nil {
		return nil, err
	}
	b.topics = topics
	consumers, err := jetstream.NewConsumers(ctx, topics)
	if err != nil {
		return nil, err
	}
	if b.registry, err = registry.Open(ctx, b.conn, store.Storage, store.Replicas); err != nil {
		return nil, err
	}

	if b.engine != nil {
		if lost := b.engine.Lost(registry.Stream); lost > 0 {
			if err := b.registry.Reserve(ctx, lost); err != nil {
				return nil, err
			}
		}
	}

	// Nobody else may store messages before the consumers are rewound.
	if store.Alone {
		if err := b.rewind(ctx, consumers); err != nil {
			return nil, err
		}
	}

	b.delayer = jetstream.StartDelayer(topics, b.logger)
	queue := &service.Service{
		Topics:          topics,
		Delayer:         b.delayer,
		Consumers:       consumers,
		Registry:        b.registry,
		MaxMessageBytes: b.cfg.MaxMessageBytes,
	}
	if err := queue.Start(ctx); err != nil {
		return nil, err
	}
	return queue, b.openPort(topics)
}

func (b *Broker) storeOptions() jetstream.StoreOptions {
	store := jetstream.StoreOptions{
		Storage:     jetstream.Memory,
		Replicas:    b.cfg.Replicas,
		Sync:        b.sync(),
		CallTimeout: b.cfg.RequestTimeout,
		Reads:       b.reads,
		Logger:      b.logger,
	}
	if b.cfg.Persist {
		store.Storage = jetstream.File
	}

	if b.engine != nil {
		store.CheckSpace = b.engine.CheckSpace
		store.Flush = b.engine.Flush
		store.RemoveDeletedFiles = b.engine.RemoveDeletedFiles
		store.RoomToPurge = b.engine.RoomToPurge
		store.Damaged, store.AllDamaged = b.engine.Damaged, b.engine.AllDamaged
		store.Alone = b.cfg.NATSAddr == ""
	}
	return store
}

// sync returns the function that syncs everything stored so far to disk, or nil if no answer has to wait for a sync.
func (b *Broker) sync() func(context.Context) error {
	if b.engine == nil || b.cfg.Durability != SyncAlways {
		return nil
	}
	return b.engine.Flush
}

// rewind moves consumers back that are past the last message of their topic, because a power cut took the newest
// messages: the next messages get the lost sequences, and would be skipped.
func (b *Broker) rewind(ctx context.Context, consumers *jetstream.Consumers) error {
	all, err := b.registry.ConsumerStarts(ctx)
	if err != nil {
		return err
	}

	rewound, err := consumers.Rewind(ctx, all)
	if rewound > 0 {
		b.logger.Warn("lost the newest messages of a topic, most likely in a power cut, which can take those of the "+
			"last DQ_SYNC_INTERVAL; its consumers continue after the last message that is left", "consumers", rewound)
	}
	return err
}

// serve starts the HTTP server in the background.
func (b *Broker) serve(queue *service.Service) {
	listener := b.listener
	if b.tls != nil {
		listener = tls.NewListener(listener, b.tls.Config())
	}
	b.facade = facade.New(queue, listener, facade.Options{
		CORSOrigins:          string(b.cfg.CORSOrigins),
		ConnectionsPerClient: b.cfg.MaxConnectionsPerAddr.of,
		DrainDelay:           b.cfg.DrainDelay,
		Tokens:               b.tokens,
		TLS:                  b.tls,
		Audit:                b.audit,
		RequestTimeout:       b.cfg.RequestTimeout,
		Heartbeat:            b.cfg.Heartbeat,
		Sync:                 b.sync(),
		Ready:                b.ready,
		Starting:             b.starting,
		Logger:               b.logger,
	})

	b.serving.Go(func() {
		if err := b.facade.Serve(); err != nil {
			b.failed <- err
		}
	})
}

// URL returns the address at which the broker answers, such as http://127.0.0.1:5000.
func (b *Broker) URL() string {
	scheme := "http://"
	if b.tls != nil {
		scheme = "https://"
	}
	return scheme + b.listener.Addr().String()
}

// Failed returns a channel that receives an error if the broker stops serving by itself.
func (b *Broker) Failed() <-chan error { return b.failed }

// Stop lets requests in progress finish, within the shutdown timeout, and stops the engine. It returns an error if
// requests had to be cut off. Later calls return what the first one returned.
func (b *Broker) Stop(ctx context.Context) error {
	b.stop.Do(func() {
		b.stopErr = b.stopServing(ctx)

		b.release()
		b.serving.Wait()
	})
	return b.stopErr
}

// stopServing lets requests in progress finish, and returns an error if it had to cut some off.
func (b *Broker) stopServing(ctx context.Context) error {
	if b.facade == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.DrainDelay+b.cfg.ShutdownTimeout)
	defer cancel()
	if err := b.facade.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests were cut off after DQ_SHUTDOWN_TIMEOUT=%s: %w", b.cfg.ShutdownTimeout, err)
	}
	return nil
}

// release closes what Start opened, also after a start that failed halfway.
func (b *Broker) release() {
	if b.listener != nil {
		_ = b.listener.Close()
	}

	b.closeStore()
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

// closeStore closes what uses the engine, and the connections to it.
func (b *Broker) closeStore() {
	if b.clients != nil {
		b.clients.stop()
	}
	if b.delayer != nil {
		b.delayer.Stop()
	}
	if b.registry != nil {
		b.registry.Close()
	}
	for _, conn := range []*nats.Conn{b.reads, b.conn} {
		if conn != nil {
			conn.Close()
		}
	}
	b.delayer, b.registry, b.reads, b.conn = nil, nil, nil, nil
}

// ready returns an error if the engine does not answer, or a [*jetstream.StorageFullError] if it does, and has no room
// for new messages.
func (b *Broker) ready(ctx context.Context) error {
	if err := b.starting(); err != nil {
		return err
	}
	if !b.conn.IsConnected() {
		return errors.New("not connected to the storage engine")
	}
	if err := b.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("the storage engine does not answer: %w", err)
	}

	if b.engine == nil {
		return b.readyElsewhere(ctx)
	}
	return b.engine.CheckSpace(0, 0)
}

// NewLogger returns a logger that writes to w, in the format and from the level of cfg.
func NewLogger(w io.Writer, cfg Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == LogJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
