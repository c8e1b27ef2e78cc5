package facade

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/valyala/fasthttp"

	"dq/facade/access"
	"dq/jetstream"
)

const (
	// A body may be a JSON string in which every byte of the message is escaped
	// ("\u0000"), and the other fields.
	bodyBytesPerMessageByte = 6
	bodyRoom                = 64 << 10
	// A batch may have that much in any case.
	minBodyLimit = 16 << 20

	// maxHeaderBytes bounds the request line and all headers of a request.
	maxHeaderBytes = 16 << 10

	// transferTimeout bounds how long a client may take to send a request, from
	// its first byte to its last, and to take an answer.
	transferTimeout = 30 * time.Second

	// drainTime is how long a shutdown waits for the clients to send one more
	// request on each connection, whose answer tells them to leave it. Those that
	// are idle for longer can see their connection closed as at any other time.
	drainTime = 300 * time.Millisecond

	livePath  = "/livez"
	readyPath = "/readyz"

	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
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
	// Logger gets what goes wrong on the broker's side.
	Logger *slog.Logger
}

// A Facade is the HTTP server of one broker.
type Facade struct {
	queue    *Queue
	opts     Options
	app      *fiber.App
	listener *listener
	leaving  atomic.Bool // readyz says no
	draining atomic.Bool // clients are told to leave
	// classic are the paths whose failures have the classic status.
	classic map[string]bool

	waiters bounded // long polls, streams, sockets
	bodies  bounded // bytes

	running context.Context // ends when the broker stops
	stop    context.CancelFunc
	streams sync.WaitGroup // that outlive their handlers
}

// New returns a facade that is to serve queue on l.
func New(queue *Queue, l net.Listener, opts Options) *Facade {
	f := &Facade{
		queue:    queue,
		opts:     opts,
		listener: newListener(l, connectionLimit(jetstream.FileLimit())),
		classic:  make(map[string]bool),
		waiters:  bounded{what: "calls that wait", limit: maxWaiting},
	}
	f.running, f.stop = context.WithCancel(context.Background())
	bodyLimit := max(queue.MaxMessageBytes*bodyBytesPerMessageByte+bodyRoom, minBodyLimit)
	f.bodies = bounded{what: "bytes of bodies", limit: bodiesLimit(debug.SetMemoryLimit(-1), bodyLimit)}
	cfg := ServerConfig()
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
	f.app.Use(f.readBody(bodyLimit))
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

// knownMethods answers calls with a method that fiber does not know, in place of
// it.
func knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(c *fasthttp.RequestCtx) {
		if method := string(c.Method()); !slices.Contains(fiber.DefaultMethods, method) {
			c.SetStatusCode(fiber.StatusMethodNotAllowed)
			c.Response.Header.Set(fiber.HeaderAllow, "DELETE, GET, PATCH, POST, PUT")
			c.SetConnectionClose() // it may not be HTTP at all
			message := fmt.Sprintf("%.100q is no method that the broker knows", method)
			const code = "method_not_allowed"
			var answer any = failure{"failure", code, message}
			c.SetContentType(fiber.MIMEApplicationJSON)
			if isV1(string(c.Path())) {
				answer = detailsOf(problem{code: code, status: fiber.StatusMethodNotAllowed}, message, nil)
				c.SetContentType(mimeProblem)
			}
			body, _ := json.Marshal(answer)
			c.SetBody(body)
			return
		}
		next(c)
	}
}

// ServerConfig is how the HTTP server is set up, but for what depends on the
// broker's own settings. Benchmarks compare with a server that is set up so.
func ServerConfig() fiber.Config {
	return fiber.Config{
		DisableStartupMessage: true,
		CaseSensitive:         true,
		StreamRequestBody:     true, // readBody decides how much of it is read
		// A form is a message like any other, and not to be read before readBody.
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               maxHeaderBytes,
		ReadTimeout:                  transferTimeout,
		IdleTimeout:                  idleTimeout,
	}
}

// serve turns a route into a handler of the HTTP server.
func (f *Facade) serve(r route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		// Not a child of the request's own context: that ends as soon as the
		// server shuts down, and what is under way is to be finished.
		ctx := withTimeout(f.opts.RequestTimeout)
		defer ctx.free()
		err := allow(c, r)
		if err == nil {
			err = r.checkQuery(c)
		}
		var value any
		if err == nil {
			value, err = r.handle(ctx, c)
		}
		if err == nil && r.changes() {
			err = f.sync(ctx)
		}
		f.audit(c, r, err)
		if err != nil {
			return hide(callerOf(c).principal, err)
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		switch out := value.(type) {
		case success:
			return out.write(c)
		case reply:
			return writeJSON(c, out.status, out.body)
		}
		return nil // the handler has written it
	}
}

func (f *Facade) sync(ctx context.Context) error {
	if f.opts.Sync == nil {
		return nil
	}
	return f.opts.Sync(ctx)
}

// reply is the answer of a call under /v1.
type reply struct {
	status int
	body   any // nil: none
}

func ok(body any) reply      { return reply{fiber.StatusOK, body} }
func created(body any) reply { return reply{fiber.StatusCreated, body} }

var noContent = reply{fiber.StatusNoContent, nil}

// waiting returns a context that ends after wait, when the client hangs up, when
// the broker stops, and when tokens change. Stop ends it before the handler returns.
func (f *Facade) waiting(c *fiber.Ctx, wait time.Duration) (_ context.Context, stop func(), err error) {
	ctx, cancel := context.WithTimeout(f.running, wait)
	client, ok := c.Context().Conn().(*conn)
	if !ok || wait == 0 {
		return ctx, cancel, nil
	}
	leave, err := f.waiters.take(1)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	unwatch := client.watch(cancel)
	settled := f.session(c, "").onChange(cancel)
	return ctx, func() {
		settled()
		unwatch()
		cancel()
		leave()
	}, nil
}

// readyz says whether the broker can do its work.
func (f *Facade) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	err := f.opts.Ready(ctx)
	if f.leaving.Load() {
		err = errors.New("the broker is about to stop")
	}
	if err != nil {
		c.Set(fiber.HeaderRetryAfter, "1")
		return writeProblem(c, problem{"unavailable", fiber.StatusServiceUnavailable, 0}, err.Error(), err)
	}
	return success{}.write(c)
}

// fail writes every answer that is not a success.
func (f *Facade) fail(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	status := p.status
	if f.classic[strings.TrimSuffix(c.Path(), "/")] { // the router takes it with a slash, too
		status = p.classic
	}
	if status >= fiber.StatusInternalServerError && p.code != codeStorageFull { // that is logged once
		f.opts.Logger.Error("request failed", "method", c.Method(), "path", c.Path(), "code", p.code, "error", err)
	}
	refusalHeaders(c, p, err)
	if isV1(c.Path()) {
		return writeProblem(c, p, describe(c, p, err), err)
	}
	return writeJSON(c, status, failure{"failure", p.code, describe(c, p, err)})
}

// isV1 says whether failures on path are told as under /v1.
func isV1(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// problemDetails is a failure under /v1, as RFC 9457 has it.
type problemDetails struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	// Tokens are those that hold no lease any more.
	Tokens []string `json:"tokens,omitempty"`
	// Messages is what became of each message of a batch.
	Messages []receipt `json:"messages,omitempty"`
	// LastSequence is what was not as expected.
	LastSequence *uint64 `json:"last_sequence,omitzero"`
}

// problem is what a client is told of err, and the broker's log of what is the
// broker's fault.
func (f *Facade) problem(err error) problemDetails {
	p := problemOf(err)
	detail := err.Error()
	if p.code == codeInternal {
		detail = internalDetail
	}
	if p.status >= fiber.StatusInternalServerError {
		f.opts.Logger.Error("request failed", "code", p.code, "error", err)
	}
	return detailsOf(p, detail, err)
}

func detailsOf(p problem, detail string, err error) problemDetails {
	details := problemDetails{
		Type: "urn:dq:problem:" + p.code, Title: strings.ReplaceAll(p.code, "_", " "),
		Status: p.status, Detail: detail, Code: p.code,
	}
	var lost *jetstream.LeaseError
	if errors.As(err, &lost) {
		details.Tokens = lost.Tokens
	}
	var sequence *jetstream.SequenceError
	if errors.As(err, &sequence) {
		details.LastSequence = sequence.Last
	}
	var partial *PartialError
	if errors.As(err, &partial) {
		details.Messages = partial.receipts
	}
	return details
}

func writeProblem(c *fiber.Ctx, p problem, detail string, err error) error {
	if err := writeJSON(c, p.status, detailsOf(p, detail, err)); err != nil {
		return err
	}
	c.Context().SetContentType(mimeProblem)
	return nil
}

const mimeProblem = "application/problem+json"

const internalDetail = "the broker failed on this request; its log says more"

// describe is what a client is told about err.
func describe(c *fiber.Ctx, p problem, err error) string {
	switch p.code {
	case codeInternal:
		return internalDetail
	case "headers_too_large":
		return fmt.Sprintf("the request line and the headers take more than %d bytes", maxHeaderBytes)
	case "path_not_found":
		return fmt.Sprintf("there is no path %s", c.Path())
	case "method_not_allowed":
		return fmt.Sprintf("%s is not allowed on %s, only %s", c.Method(), c.Path(), c.GetRespHeader(fiber.HeaderAllow))
	}
	text, _, _ := strings.Cut(err.Error(), ". Buffer size=") // behind it is the whole request
	return text
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
	f.listener.drain(ctx, drainTime)
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
