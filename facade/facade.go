package facade

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"dq/facade/access"
	"dq/facade/service"
	"dq/facade/transport"
)

const (
	// drainTime is how long a shutdown waits for the clients to send one more
	// request on each connection, whose answer tells them to leave it. Those that
	// are idle for longer can see their connection closed as at any other time.
	drainTime = 300 * time.Millisecond
)

// Options say how a facade serves.
type Options struct {
	// CORSOrigins are the origins that browsers may call from, parted by
	// commas; "*" is any, "" none.
	CORSOrigins string
	// RequestTimeout bounds how long the broker works on one request.
	RequestTimeout time.Duration
	// Sync, if it is not nil, brings what was stored to the disk. It is called
	// before an answer that promises something leaves.
	Sync func(context.Context) error
	// DrainDelay is how long a shutdown goes on serving while readyz says that the
	// broker is not ready, for load balancers to see it.
	DrainDelay time.Duration
	// Tokens say who may do what; nil: everybody may do everything.
	Tokens *access.Tokens
	// Audit, if it is not nil, gets the administrative calls.
	Audit *access.Audit
	// Ready says whether the broker can do its work, or what keeps it from it.
	Ready func(context.Context) error
	// Heartbeat is how long a stream or socket stays silent before it sends a sign of
	// life; 0 is 15 s.
	Heartbeat time.Duration
	// Logger gets what goes wrong on the broker's side.
	Logger *slog.Logger
}

// A Facade is the HTTP server of one broker.
type Facade struct {
	queue    *service.Service
	opts     Options
	app      *fiber.App
	listener *transport.Listener
	leaving  atomic.Bool // readyz says no
	draining atomic.Bool // clients are told to leave
	// classic are the paths whose failures have the classic status.
	classic map[string]bool

	waiters transport.Budget // long polls, streams, sockets
	bodies  transport.Budget // bytes

	running context.Context // ends when the broker stops
	stop    context.CancelFunc
	streams sync.WaitGroup // that outlive their handlers
}

// New returns a facade that is to serve queue on l.
func New(queue *service.Service, l net.Listener, opts Options) *Facade {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = defaultHeartbeat
	}
	f := &Facade{
		queue:    queue,
		opts:     opts,
		listener: transport.NewListener(l, transport.MaxConnections(transport.MaxOpenFiles())),
		classic:  make(map[string]bool),
		waiters:  transport.Budget{What: "calls that wait", Limit: transport.MaxWaitingCalls},
	}
	f.running, f.stop = context.WithCancel(context.Background())
	bodyLimit := transport.MaxBody(queue.MaxMessageBytes)
	f.bodies = transport.Budget{What: "bytes of bodies", Limit: transport.MaxBodyBytes(debug.SetMemoryLimit(-1), bodyLimit)}
	cfg := transport.ServerConfig()
	cfg.BodyLimit, cfg.ErrorHandler = bodyLimit, f.fail
	f.app = fiber.New(cfg)
	f.app.Server().CloseOnShutdown = true
	f.app.Server().Handler = knownMethods(f.app.Server().Handler)
	f.app.Use(recover.New())
	if opts.CORSOrigins != "" {
		f.app.Use(cors.New(cors.Config{AllowOrigins: opts.CORSOrigins, ExposeHeaders: "*"}))
	}
	f.app.Use(func(c *fiber.Ctx) error {
		if f.draining.Load() {
			c.Context().SetConnectionClose()
		}
		return c.Next()
	})
	if opts.Tokens != nil || opts.Audit != nil {
		f.app.Use(f.authenticate)
	}
	f.app.Use(transport.ReadBody(&f.bodies, bodyLimit))
	for _, r := range f.classicRoutes() {
		f.classic[r.path] = true
		// Add, not Get: a HEAD of consume must not consume.
		f.app.Add(r.method, r.path, f.serve(r))
	}
	for _, r := range f.v1Routes() {
		f.app.Add(r.method, r.path, f.serve(r))
	}
	f.serveDescription()
	f.app.Get(livePath, func(c *fiber.Ctx) error {
		return success{}.write(c)
	})
	f.app.Get(readyPath, f.readyz)
	return f
}

// Serve answers requests until Shutdown.
func (f *Facade) Serve() error {
	return f.app.Listener(f.listener)
}

// Shutdown takes no more connections, tells the clients to leave those that are
// open, and returns when all requests under way are answered, or with the error
// of ctx when that ends first.
func (f *Facade) Shutdown(ctx context.Context) error {
	f.leaving.Store(true)
	select {
	case <-time.After(f.opts.DrainDelay):
	case <-ctx.Done():
	}
	f.draining.Store(true)
	f.stop()
	f.listener.Drain(ctx, drainTime)
	err := f.app.ShutdownWithContext(ctx)
	ended := make(chan struct{})
	go func() {
		f.streams.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, context.Cause(ctx))
	}
}
