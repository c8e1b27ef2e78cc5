package facade

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
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

// Options configure a facade.
type Options struct {
	// CORSOrigins are the origins that browsers may call from, separated by commas; "*" is any, "" none.
	CORSOrigins string
	// RequestTimeout bounds how long the broker works on one request.
	RequestTimeout time.Duration
	// Sync, if it is not nil, flushes what was stored to disk. The facade calls it before it answers a call that
	// changed something.
	Sync func(context.Context) error
	// DrainDelay is how long the facade keeps serving after a shutdown began, while /readyz says that the broker is not
	// ready. Load balancers need that time to notice.
	DrainDelay time.Duration
	// ConnectionsPerClient is how many connections one client address may have open, given how many all may have;
	// nil is no limit.
	ConnectionsPerClient func(all int) int
	// Tokens say who may do what; nil lets everybody do everything.
	Tokens *access.Tokens
	// TLS are the certificates of the listener; nil if it is plain HTTP.
	TLS *access.TLS
	// Audit, if it is not nil, records the administrative calls.
	Audit *access.Audit
	// Ready returns nil if the broker can do its work, or an error that says why it cannot. A
	// [*jetstream.StorageFullError] says that it can do all but take new data.
	Ready func(context.Context) error
	// Starting, if it is not nil, returns why the broker cannot answer calls yet, nil if it can.
	Starting func() error
	// Heartbeat is how long a stream or socket stays silent before it sends a sign of life; 0 is 15 s.
	Heartbeat time.Duration
	// Logger logs the failures of the broker.
	Logger *slog.Logger
}

// A Facade is the HTTP server of one broker.
type Facade struct {
	service  *service.Service
	opts     Options
	app      *fiber.App
	listener *transport.Listener
	local    bool        // only this machine can reach the listener
	hostname string      // of this machine, in lower case; "" if it has none
	leaving  atomic.Bool // /readyz says no
	draining atomic.Bool // clients are told to leave

	waiters transport.Budget // long polls, streams, sockets
	answers *answerBudget
	reads   *readBudget

	running context.Context // ends when the broker stops
	stop    context.CancelFunc
	streams sync.WaitGroup // streams and sockets, which outlive their handlers
}

// New returns a facade that serves the operations of svc on l.
func New(svc *service.Service, l net.Listener, opts Options) *Facade {
	if opts.Heartbeat == 0 {
		opts.Heartbeat = defaultHeartbeat
	}
	bodyLimit := transport.MaxBody(svc.MaxMessageBytes)
	memory := debug.SetMemoryLimit(-1) // which changes nothing
	bodies := transport.NewBodyBudget(memory, bodyLimit)
	limits := connectionLimits(opts)
	f := &Facade{
		service:  svc,
		opts:     opts,
		local:    isLoopback(l),
		listener: transport.NewListener(l, limits),
		waiters:  transport.Budget{What: "calls that wait", Limit: transport.MaxWaitingCalls(limits.All)},
		answers:  newAnswerBudget(transport.MaxAnswerBytes(memory), pieceBytes),
		reads:    newReadBudget(transport.MaxReadBytes(memory)),
	}
	if name, err := os.Hostname(); err == nil {
		f.hostname = strings.ToLower(name)
	}
	f.running, f.stop = context.WithCancel(context.Background())

	cfg := transport.ServerConfig()
	cfg.BodyLimit, cfg.ErrorHandler = bodyLimit, f.failUnrouted
	f.app = fiber.New(cfg)
	f.app.Server().CloseOnShutdown = true
	f.app.Server().ReduceMemoryUsage = true     // it also sends each answer before it waits for the next request's body
	f.app.Server().SecureErrorLogMessage = true // errors quote no request: it may hold a token
	f.app.Server().ConnState = f.listener.TrackState
	f.app.Server().ExpectHandler = f.expect(bodyLimit)
	f.app.Server().Handler = f.refuseUnknownMethods(f.app.Server().Handler)

	f.route(transport.ReadBody(bodies, bodyLimit, payerOf))
	return f
}

// connectionLimits returns how many connections this process serves at once.
func connectionLimits(opts Options) transport.ConnectionLimits {
	limits := transport.ConnectionLimits{All: transport.MaxConnections(transport.MaxOpenFiles())}
	if opts.ConnectionsPerClient == nil {
		return limits
	}

	limits.PerClient = opts.ConnectionsPerClient(limits.All)
	limits.Refused = func(client string) {
		opts.Logger.Warn("a client has as many connections as one address may have: refusing more of it; "+
			"set DQ_MAX_CONNECTIONS_PER_ADDR if many clients share the address, as behind a proxy",
			"client", client, "connections", limits.PerClient)
	}
	return limits
}

// route gives the HTTP server its handlers, in the order in which a request passes them. A body is read only after
// the caller is known: a client without a valid token cannot make the broker hold one in memory.
func (f *Facade) route(readBody fiber.Handler) {
	f.app.Use(recover.New(), transport.RefuseAmbiguousFraming)
	if f.opts.CORSOrigins != "" {
		f.app.Use(cors.New(cors.Config{AllowOrigins: f.opts.CORSOrigins, ExposeHeaders: "*"}))
	}
	f.app.Use(f.closeWhenDraining, f.refuseOtherOrigins)

	for _, r := range append(f.classicRoutes(), f.v1Routes()...) {
		f.addRoute(r, readBody)
	}

	f.app.Use(f.authenticate, readBody)
	f.serveDescription()
	f.app.Get(livePath, f.livez)
	f.app.Get(readyPath, f.reportFailures(apiV1), f.readyz)
}

// addRoute serves a call, and HEAD beside GET unless the call changes something (consume does) or has no end.
func (f *Facade) addRoute(r route, readBody fiber.Handler) {
	paths := []string{r.path}
	if r.api == apiClassic {
		paths = append(paths, r.path+"/") // old clients may send it so
	}
	methods := []string{r.method}
	if r.method == fiber.MethodGet && !r.mutates && !r.endless {
		methods = append(methods, fiber.MethodHead)
	}

	for _, path := range paths {
		for _, method := range methods {
			f.app.Add(method, path, f.reportFailures(r.api), f.authenticate, readBody, f.serve(r))
		}
	}
}

// closeWhenDraining tells clients to close their connection after this answer once the broker is shutting down.
func (f *Facade) closeWhenDraining(c *fiber.Ctx) error {
	if f.draining.Load() {
		c.Context().SetConnectionClose()
	}
	return c.Next()
}

// Serve answers requests until Shutdown.
func (f *Facade) Serve() error {
	return f.app.Listener(f.listener)
}

// Shutdown accepts no more connections and tells the clients to close those that are open. It returns when all requests
// under way are answered, or with the error of ctx if ctx ends first.
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
