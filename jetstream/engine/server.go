package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// headerRoom is what the engine may carry beside the body of a message: its
	// headers; and a cursor with all the leases that there may be has to fit.
	headerRoom = 1 << 20

	// storeLimit takes the place of the engine's own limit, which is three
	// quarters of the space that is free at the start: with that, a store that
	// filled half of a disk would refuse every write after a restart. The disk
	// itself is the limit.
	storeLimit = 1 << 50

	// startTimeout bounds how long the engine may take to read its store and
	// get ready.
	startTimeout = 5 * time.Minute

	// reconnectWait is the pause before a connection to an engine that is
	// started anew is tried again.
	reconnectWait = 50 * time.Millisecond
)

// Options say how the engine in this process runs.
type Options struct {
	// Dir holds the store; it is made if it is not there. Empty means memory
	// storage: all is gone when the server stops.
	Dir string
	// SyncAlways makes Sync bring all that is confirmed to the disk.
	SyncAlways bool
	// SyncInterval is how often written data is synced to the disk otherwise.
	SyncInterval time.Duration
	// MaxMessageBytes is the largest message, at most [MaxMessageBytes].
	MaxMessageBytes int
	// Addr is where NATS clients may connect, with User and Password; empty means
	// nowhere.
	Addr, User, Password string
	// Logger gets what the engine has to say.
	Logger *slog.Logger
}

// A Server is a nats-server in this process.
type Server struct {
	opts    server.Options
	login   nats.Option
	logger  *engineLogger
	syncer  *syncer // nil in memory mode, and where only the engine can sync
	always  bool    // Sync is to sync
	lock    *flock.Flock
	tempDir string

	disk     *diskWatch // nil in memory mode
	unwatch  context.CancelFunc
	watching sync.WaitGroup

	mu sync.RWMutex
	ns *server.Server
}

// Start starts the engine and returns when it has read its store and is
// ready. It returns a [*DirInUseError] if another process has the directory.
func Start(opts Options) (_ *Server, err error) {
	s := &Server{logger: &engineLogger{log: opts.Logger, storeFailed: func() {}}, login: nats.UserInfo(opts.User, opts.Password)}
	defer func() {
		if err != nil {
			s.Shutdown()
		}
	}()
	dir := opts.Dir
	if dir == "" {
		// The engine wants a directory even if all storage is in memory.
		if s.tempDir, err = os.MkdirTemp("", "dq-"); err != nil {
			return nil, fmt.Errorf("make a directory for the engine: %w", err)
		}
		dir = s.tempDir
	} else if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if opts.Dir != "" {
		s.always = opts.SyncAlways
		if s.syncer, err = openSyncer(dir); err != nil {
			return nil, err
		}
	}
	host, port, err := listenAddr(opts.Addr)
	if err != nil {
		return nil, err
	}
	s.opts = server.Options{
		ServerName:             "dq",
		DontListen:             opts.Addr == "",
		Host:                   host,
		Port:                   port,
		Username:               opts.User,
		Password:               opts.Password,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      storeLimit,
		SyncAlways:             opts.SyncAlways && s.syncer == nil,
		SyncInterval:           opts.SyncInterval,
		MaxPayload:             int32(opts.MaxMessageBytes + headerRoom),
		DisableJetStreamBanner: true,
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	if opts.Dir != "" {
		s.disk = &diskWatch{dir: dir, restart: s.restart, log: opts.Logger}
		s.logger.storeFailed = func() { s.disk.failed.Store(true) }
		s.disk.look()
		var ctx context.Context
		ctx, s.unwatch = context.WithCancel(context.Background())
		s.watching.Go(func() { s.disk.run(ctx) })
	}
	return s, nil
}

// StartBare starts an engine with nothing of dq's around it: no lock, no repair,
// no watch of the disk. Of opts it takes Dir, SyncAlways, SyncInterval and
// MaxMessageBytes. `dq bench` measures dq against it.
func StartBare(opts Options) (*Server, error) {
	s := &Server{
		opts: server.Options{
			DontListen:   true,
			NoSigs:       true,
			JetStream:    true,
			StoreDir:     opts.Dir,
			SyncAlways:   opts.SyncAlways,
			SyncInterval: opts.SyncInterval,
			MaxPayload:   int32(opts.MaxMessageBytes + headerRoom),
		},
		login:  nats.UserInfo("", ""),
		logger: &engineLogger{log: slog.New(slog.DiscardHandler), storeFailed: func() {}},
	}

	var err error
	s.ns, err = s.startEngine()
	return s, err
}

// startEngine starts the engine itself.
func (s *Server) startEngine() (*server.Server, error) {
	opts := s.opts // the engine changes its own
	ns, err := server.NewServer(&opts)
	if err != nil {
		return nil, fmt.Errorf("configure the engine: %w", err)
	}
	ns.SetLoggerV2(s.logger, s.logger.log.Enabled(context.Background(), slog.LevelDebug), false, false)
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) || !ns.JetStreamEnabled() {
		stopEngine(ns)
		return nil, fmt.Errorf("start the engine in %s: %w", opts.StoreDir, s.logger.lastError())
	}
	return ns, nil
}

func stopEngine(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// restart starts the engine anew. Connections come back by themselves.
func (s *Server) restart() error {
	stopEngine(s.current())
	return s.start()
}

func (s *Server) current() *server.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ns
}

// InProcessConn implements [nats.InProcessConnProvider] with the engine that
// runs now.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

// CheckSpace returns a [*StorageFullError] if the disk has no room for so many bytes in
// that many messages.
func (s *Server) CheckSpace(messages, bytes int) error {
	if s.disk == nil {
		return nil
	}
	return s.disk.room(messages, bytes)
}

// listenAddr takes an address apart.
func listenAddr(addr string) (host string, port int, err error) {
	if addr == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("listen for NATS clients on %s: %w", addr, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// Connect opens a connection to the engine, inside this process.
func (s *Server) Connect() (*nats.Conn, error) {
	return Connect("", s.login, nats.InProcessServer(s), nats.ReconnectWait(reconnectWait))
}

// Addr is where NATS clients may connect, or nil if they may not.
func (s *Server) Addr() net.Addr { return s.current().Addr() }

// Connect opens a connection to an engine that runs elsewhere. It lasts until
// it is closed.
func Connect(url string, opts ...nats.Option) (*nats.Conn, error) {
	nc, err := nats.Connect(url, append(opts, nats.Name("dq facade"), nats.MaxReconnects(-1), nats.ErrorHandler(asyncError))...)
	if err != nil {
		return nil, fmt.Errorf("connect to the engine: %w", err)
	}
	return nc, nil
}

// Sync returns when all that was confirmed before is on the disk, if the options
// ask for that. Errors: [*UnavailableError].
func (s *Server) Sync(ctx context.Context) error {
	if !s.always {
		return nil
	}
	return s.Flush(ctx)
}

// Flush returns when all that was confirmed before is on the disk, as far as the
// operating system can be asked for it. Errors: [*UnavailableError].
func (s *Server) Flush(ctx context.Context) error {
	if s.syncer == nil {
		return nil
	}
	return s.syncer.sync(ctx)
}

// asyncError gets what goes wrong on a connection besides calls: headers of
// messages that nobody can read, which are dealt with where they are read.
func asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	slog.Debug("engine: on the connection", "error", err)
}

// Shutdown stops the engine, writes out what it holds and frees the directory.
func (s *Server) Shutdown() {
	if s.unwatch != nil {
		s.unwatch()
		s.watching.Wait()
	}
	if ns := s.current(); ns != nil {
		stopEngine(ns)
	}
	if s.syncer != nil {
		s.syncer.close()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
	if s.tempDir != "" {
		_ = os.RemoveAll(s.tempDir)
	}
}
