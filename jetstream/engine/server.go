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
	// headerBytes is how much larger than a message's data the engine's payload may
	// be. It is for the headers, and lets a cursor with the most leases fit.
	headerBytes = 1 << 20

	// storeLimit replaces the engine's own limit, which is three quarters of the
	// space that is free at the start: with that, a store that filled half of a disk
	// would refuse all writes after a restart. The disk itself is the limit.
	storeLimit = 1 << 50

	// startTimeout bounds how long the engine may take to read its store and get
	// ready.
	startTimeout = 5 * time.Minute
)

// Options say how the engine in this process runs.
type Options struct {
	// Dir holds the store; it is created if it does not exist. Empty means memory
	// storage: everything is gone when the server stops.
	Dir string
	// SyncAlways has the engine sync each write by itself where the operating system
	// cannot sync a file system, which is what [Server.Flush] does elsewhere.
	SyncAlways bool
	// SyncInterval is how often the engine syncs written data to disk by itself.
	SyncInterval time.Duration
	// MaxMessageBytes is the size of the largest message.
	MaxMessageBytes int
	// Port says where and how NATS clients may connect.
	Port ClientPort
	// Required are the streams without which dq cannot work, and what each holds: if one is
	// damaged, the engine does not start. Other damaged streams are not served.
	Required map[string]string
	// AcceptDamage are the streams that are repaired if they are damaged: what is left of them
	// is served.
	AcceptDamage []string
	// Logger gets the engine's log.
	Logger *slog.Logger
}

// A Server is a nats-server in this process.
type Server struct {
	opts    server.Options
	clients *clients
	logger  *engineLogger
	lock    *flock.Flock // nil in memory mode
	tempDir string       // "" in file mode

	syncer *syncer // nil in memory mode, and where the operating system cannot sync a file system

	disk      *diskWatch         // nil in memory mode
	stopWatch context.CancelFunc // ends the watch of the disk
	watching  sync.WaitGroup

	dir        string            // the data directory; "" in memory mode
	required   map[string]string // as in Options
	accepted   []string
	lost       map[string]uint64 // messages of streams that accepted damage cost
	syncWithin time.Duration     // how long data may wait for a sync
	started    bool

	mu      sync.RWMutex
	ns      *server.Server           // replaced by a restart
	damaged map[string]*StreamDamage // streams that are not served, replaced by a restart
}

// Start starts the engine, and returns when it has read its store and is ready.
// Errors: [*DirInUseError] if another process uses the directory, [*NewerFormatError],
// [*UnreadableFormatError] or [*NewerEngineError] if a newer dq wrote it, [*DamagedError] if
// it is damaged, [*LostStreamsError] if a stream cannot be read.
func Start(opts Options) (_ *Server, err error) {
	s := &Server{
		logger:   &engineLogger{log: opts.Logger, storeFailed: func() {}},
		required: opts.Required,
		accepted: opts.AcceptDamage,
		lost:     make(map[string]uint64),
		dir:      opts.Dir,
	}
	if !opts.SyncAlways {
		s.syncWithin = opts.SyncInterval
	}
	s.clients = newClients(opts.Port, opts.Logger)
	defer func() {
		if err != nil {
			s.Shutdown()
		}
	}()

	dir, err := s.openDir(opts)
	if err != nil {
		return nil, err
	}
	if err := s.configure(opts, dir); err != nil {
		return nil, err
	}
	run := lastRun{end: endInOrder}
	if opts.Dir != "" {
		if run, err = s.claimDir(opts); err != nil {
			return nil, err
		}
	}
	if err := s.start(run); err != nil {
		return nil, err
	}
	s.started = true
	s.watchDisk()
	return s, nil
}

// openDir locks the data directory, or makes a temporary one in memory mode: the
// engine wants a directory even if all storage is in memory.
func (s *Server) openDir(opts Options) (dir string, err error) {
	if opts.Dir == "" {
		if s.tempDir, err = os.MkdirTemp("", "dq-"); err != nil {
			return "", fmt.Errorf("create a directory for the engine: %w", err)
		}
		return s.tempDir, nil
	}

	if s.lock, err = lockDir(opts.Dir); err != nil {
		return "", err
	}
	s.syncer, err = openSyncer(opts.Dir)
	return opts.Dir, err
}

// configure sets the options of the nats-server.
func (s *Server) configure(opts Options, dir string) error {
	s.opts = server.Options{
		ServerName:             "dq",
		DontListen:             opts.Port.Addr == "",
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      storeLimit,
		SyncAlways:             opts.SyncAlways && s.syncer == nil,
		SyncInterval:           opts.SyncInterval,
		MaxPayload:             int32(opts.MaxMessageBytes + headerBytes),
		DisableJetStreamBanner: true,
	}
	return s.clients.configure(&s.opts)
}

// openDisk looks at the disk for the first time.
func (s *Server) openDisk(dir string) {
	s.disk = &diskWatch{dir: dir, space: diskSpace, restart: s.restart, log: s.logger.log}
	s.logger.storeFailed = func() { s.disk.failed.Store(true) }
	s.disk.look()
}

// watchDisk watches the disk, and shows that this process is alive, until Shutdown.
func (s *Server) watchDisk() {
	if s.disk == nil {
		return
	}
	var ctx context.Context
	ctx, s.stopWatch = context.WithCancel(context.Background())
	s.watching.Go(func() { s.disk.run(ctx) })
	s.watching.Go(func() { s.stayAlive(ctx) })
}

// StartBare starts an engine with nothing of dq's around it: no lock, no repair, no
// watch of the disk. It uses only Dir, SyncAlways, SyncInterval and MaxMessageBytes
// of opts. `dq bench` measures dq against it.
func StartBare(opts Options) (*Server, error) {
	log := slog.New(slog.DiscardHandler)
	s := &Server{
		logger:  &engineLogger{log: log, storeFailed: func() {}},
		clients: newClients(ClientPort{}, log),
	}
	s.opts = server.Options{
		DontListen:                 true,
		NoSigs:                     true,
		JetStream:                  true,
		StoreDir:                   opts.Dir,
		SyncAlways:                 opts.SyncAlways,
		SyncInterval:               opts.SyncInterval,
		MaxPayload:                 int32(opts.MaxMessageBytes + headerBytes),
		CustomClientAuthentication: s.clients,
	}

	var err error
	s.ns, err = s.startNATS()
	return s, err
}

// startNATS starts the nats-server, and waits until it is ready.
func (s *Server) startNATS() (*server.Server, error) {
	opts := s.opts // the nats-server changes its own
	ns, err := server.NewServer(&opts)
	if err != nil {
		return nil, fmt.Errorf("configure the engine: %w", err)
	}

	if err := s.clients.use(ns); err != nil {
		return nil, fmt.Errorf("configure the engine: %w", err)
	}
	ns.SetLoggerV2(s.logger, s.logger.log.Enabled(context.Background(), slog.LevelDebug), false, false)
	s.logger.setDead(false)
	ns.Start()
	if !s.awaitReady(ns) || !ns.JetStreamEnabled() {
		stopNATS(ns)
		return nil, fmt.Errorf("start the engine in %s: %w", opts.StoreDir, s.logger.lastError())
	}
	return ns, nil
}

// awaitReady waits until ns is ready, and reports whether it is. The engine only logs what prevents its start, such as
// a port that is taken; there is nothing to wait for then.
func (s *Server) awaitReady(ns *server.Server) bool {
	const pause = 100 * time.Millisecond
	for end := time.Now().Add(startTimeout); time.Now().Before(end) && !s.logger.isDead(); {
		if ns.ReadyForConnections(pause) {
			return true
		}
	}
	return false
}

func stopNATS(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// restart stops and starts the engine. Connections reconnect by themselves.
func (s *Server) restart() error {
	stopNATS(s.current())
	return s.start(lastRun{end: endKilled})
}

func (s *Server) current() *server.Server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ns
}

// Shutdown stops the engine, which writes what it still holds in memory, and
// releases the directory.
func (s *Server) Shutdown() {
	if s.stopWatch != nil {
		s.stopWatch()
		s.watching.Wait()
	}
	if ns := s.current(); ns != nil {
		stopNATS(ns)
	}

	if s.dir != "" && s.started {
		recordEnd(s.dir)
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

// CheckSpace returns a [*StorageFullError] if the disk has no room for that many
// bytes of data in that many messages.
func (s *Server) CheckSpace(messages, bytes int) error {
	if s.disk == nil {
		return nil
	}
	return s.disk.checkSpace(messages, bytes)
}

// RoomToPurge makes room for the purge of a stream of so many bytes, of all of it or of a part.
// It returns a [*StorageFullError] if that is not possible: then the purge must not be tried.
func (s *Server) RoomToPurge(bytes uint64, all bool) error {
	if s.disk == nil {
		return nil
	}
	if all {
		bytes = 0
	}
	return s.disk.roomToPurge(purgeNeeds + min(bytes, maxPurgeNeeds))
}

// Flush returns when everything that was confirmed before is on disk. In memory mode
// it does nothing, nor where the operating system cannot sync a file system.
// Errors: [*UnavailableError].
func (s *Server) Flush(ctx context.Context) error {
	if s.syncer == nil {
		return nil
	}
	return s.syncer.sync(ctx)
}

// InProcessConn implements [nats.InProcessConnProvider] with the engine that runs
// now.
func (s *Server) InProcessConn() (net.Conn, error) { return s.current().InProcessConn() }

// Connect opens a connection to the engine, inside this process. It outlives a
// restart.
func (s *Server) Connect() (*nats.Conn, error) {
	return openConn("", s.logger.log, s.clients.login(), nats.InProcessServer(s))
}

// listenAddr splits an address into host and port, any free one for port 0.
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
