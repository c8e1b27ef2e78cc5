package facade

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"dq/facade/transport"
)

// failUnrouted answers a request that reached no route: the broker cannot read it as HTTP, or no route has its path and
// method. The path alone decides the form of the answer.
func (f *Facade) failUnrouted(c *fiber.Ctx, err error) error {
	form := apiNone
	if isV1(c.Path()) {
		form = apiV1
	}

	var http *fiber.Error
	if errors.As(err, &http) {
		if http.Code == fiber.StatusMethodNotAllowed && c.Method() == fiber.MethodOptions {
			c.Append(fiber.HeaderAllow, fiber.MethodOptions) // the router has set the others
			return c.SendStatus(fiber.StatusNoContent)
		}
		err = httpError(c, http)
	}
	return f.fail(c, form, err)
}

// isV1 reports whether path belongs to the API under /v1.
func isV1(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// httpError returns an error that explains e to a client, or e itself if its text is clear enough.
func httpError(c *fiber.Ctx, e *fiber.Error) error {
	switch e.Code {
	case fiber.StatusNotFound:
		return &pathError{path: c.Path()}
	case fiber.StatusMethodNotAllowed:
		return &methodError{method: c.Method(), path: c.Path(), allowed: c.GetRespHeader(fiber.HeaderAllow)}
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return &headersTooLargeError{}
	}
	return e
}

// expect decides whether a client that sent "Expect: 100-continue" may send its body: not if it is larger than limit,
// nor if a proxy may see its end elsewhere.
func (f *Facade) expect(limit int) func(*fasthttp.RequestCtx) int {
	return func(request *fasthttp.RequestCtx) int {
		err := transport.CheckFraming(request)
		if err == nil && request.Request.Header.ContentLength() > limit {
			err = &transport.BodyTooLargeError{Limit: limit}
		}
		if err == nil {
			return fasthttp.StatusContinue
		}

		c := f.app.AcquireCtx(request)
		defer f.app.ReleaseCtx(c)
		_ = f.failUnrouted(c, err)
		return c.Response().StatusCode()
	}
}

// refuseUnknownMethods answers requests with a method that fiber does not know. Fiber would answer with plain text.
func (f *Facade) refuseUnknownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(request *fasthttp.RequestCtx) {
		method := string(request.Method())
		if slices.Contains(fiber.DefaultMethods, method) {
			next(request)
			return
		}

		request.SetConnectionClose() // it may not be HTTP at all
		c := f.app.AcquireCtx(request)
		defer f.app.ReleaseCtx(c)
		_ = f.failUnrouted(c, &unknownMethodError{method: method})
	}
}

// pathError is a request for a path that no route has.
type pathError struct{ path string }

func (e *pathError) Error() string { return fmt.Sprintf("there is no path %s", e.path) }

// methodError is a request for a path that exists only with other methods.
type methodError struct{ method, path, allowed string }

func (e *methodError) Error() string {
	return fmt.Sprintf("%s is not allowed on %s, only %s", e.method, e.path, e.allowed)
}

// unknownMethodError is a request with a method that HTTP does not have.
type unknownMethodError struct{ method string }

func (e *unknownMethodError) Error() string {
	return fmt.Sprintf("%.100q is no method that the broker knows", e.method)
}

// headersTooLargeError is a request whose head is larger than [transport.MaxHeaderBytes].
type headersTooLargeError struct{}

func (*headersTooLargeError) Error() string {
	return fmt.Sprintf("the request line and the headers take more than %d bytes", transport.MaxHeaderBytes)
}

// withoutRequest returns the text of an error of the HTTP server, without the whole request that it may quote.
func withoutRequest(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": buffer size=")
	text, _, _ = strings.Cut(text, ` of request "`)
	return text
}
