package facade

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"dq/facade/access"
	"dq/facade/decode"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
	"dq/registry"
)

// codeStorageFull is the code of new data that the disk has no room for.
const codeStorageFull = "storage_full"

// codeInternal is the code of an error that nobody thought of.
const codeInternal = "internal"

// problem is how an error is told to a client.
type problem struct {
	code   string // stable: clients compare it
	status int
	// classic is the status on the seven classic calls, whose clients take
	// anything but 400 and 500 for a success.
	classic int
}

// problemOf is the one place that gives errors their code and status.
func problemOf(err error) problem {
	for _, row := range problems {
		if row.match(err) {
			return row.problem(err)
		}
	}
	return problem{codeInternal, fiber.StatusInternalServerError, fiber.StatusInternalServerError}
}

type problemRow struct {
	match   func(error) bool
	problem func(error) problem
}

var problems = []problemRow{
	refused[*jetstream.NameError]("invalid_topic_name", fiber.StatusUnprocessableEntity),
	refused[*jetstream.ExistsError]("topic_exists", fiber.StatusConflict),
	refused[*jetstream.TopicNotFoundError]("topic_not_found", fiber.StatusNotFound),
	refused[*jetstream.EmptyError]("empty", fiber.StatusNotFound),
	refused[*jetstream.NoMessageError]("message_not_found", fiber.StatusNotFound),
	refused[*jetstream.SettingError]("invalid_setting", fiber.StatusUnprocessableEntity),
	refused[*jetstream.BatchError]("invalid_batch", fiber.StatusUnprocessableEntity),
	refused[*BatchTooLargeError]("batch_too_large", fiber.StatusRequestEntityTooLarge),
	refused[*jetstream.DuplicateError]("duplicate_batch", fiber.StatusConflict),
	refused[*jetstream.SupersededError]("superseded", fiber.StatusConflict),
	refused[*jetstream.ConsumerNotFoundError]("consumer_not_found", fiber.StatusNotFound),
	refused[*registry.ProducerNotFoundError]("producer_not_found", fiber.StatusNotFound),
	refused[*service.ConsumerNotRegisteredError]("consumer_not_registered", fiber.StatusConflict),
	refused[*service.ProducerNotRegisteredError]("producer_not_registered", fiber.StatusConflict),
	refused[*jetstream.MessageTooLargeError]("message_too_large", fiber.StatusRequestEntityTooLarge),
	refused[*jetstream.SequenceError]("wrong_last_sequence", fiber.StatusConflict),
	refused[*jetstream.FullError]("topic_full", fiber.StatusTooManyRequests),
	refused[*jetstream.ModeError]("wrong_mode", fiber.StatusConflict),
	refused[*jetstream.LeaseError]("lease_lost", fiber.StatusConflict),
	refused[*service.OtherSettingsError]("other_settings", fiber.StatusConflict),
	refused[*NoTopicsError]("no_topics", fiber.StatusNotFound),
	refused[*decode.SyntaxError]("invalid_json", fiber.StatusBadRequest),
	refused[*decode.MissingFieldError]("missing_field", fiber.StatusBadRequest),
	refused[*transport.UnsupportedEncodingError]("unsupported_encoding", fiber.StatusUnsupportedMediaType),
	refused[*decode.FieldError]("invalid_field", fiber.StatusBadRequest),
	refused[*transport.BodyTooLargeError]("body_too_large", fiber.StatusRequestEntityTooLarge),
	// Old clients cannot show a token, and are to stop rather than to go on: these
	// have their own status on the classic calls, too.
	denied[*access.UnauthenticatedError]("unauthenticated", fiber.StatusUnauthorized),
	denied[*access.ForbiddenError]("forbidden", fiber.StatusForbidden),
	denied[*access.RateError]("rate_limited", fiber.StatusTooManyRequests),
	denied[*access.QuotaError]("quota_exceeded", fiber.StatusTooManyRequests),
	failed[*transport.OverloadedError]("overloaded"),
	failed[*jetstream.StorageFullError](codeStorageFull),
	failed[*jetstream.UnavailableError]("unavailable"),
	failed[*jetstream.DeadLetterError]("dead_letter_refused"), // of one that the caller may not see
	when(transportProblem),
}

// refused is the row of an error that is the client's.
func refused[E error](code string, status int) problemRow {
	return when(func(E) problem { return problem{code, status, fiber.StatusBadRequest} })
}

// denied is the row of an error that says that the caller may not.
func denied[E error](code string, status int) problemRow {
	return when(func(E) problem { return problem{code, status, status} })
}

// failed is the row of an error that is the broker's.
func failed[E error](code string) problemRow {
	return when(func(E) problem {
		return problem{code, fiber.StatusServiceUnavailable, fiber.StatusInternalServerError}
	})
}

func when[E error](tell func(E) problem) problemRow {
	return problemRow{
		match: func(err error) bool { var e E; return errors.As(err, &e) },
		problem: func(err error) problem {
			var e E
			errors.As(err, &e)
			return tell(e)
		},
	}
}

// transportProblem tells of a request that HTTP itself refuses.
func transportProblem(e *fiber.Error) problem {
	status := e.Code
	if status == fiber.StatusBadGateway { // fiber's word for a connection that broke
		status = fiber.StatusBadRequest
	}
	code := "bad_request"
	switch status {
	case fiber.StatusNotFound:
		code = "path_not_found"
	case fiber.StatusMethodNotAllowed:
		code = "method_not_allowed"
	case fiber.StatusUpgradeRequired:
		code = "upgrade_required"
	case fiber.StatusRequestTimeout:
		code = "request_timeout"
	case fiber.StatusRequestHeaderFieldsTooLarge:
		code = "headers_too_large"
	}
	return problem{code, status, status}
}

// refusalHeaders sets the headers that belong to a refusal.
func refusalHeaders(c *fiber.Ctx, p problem, err error) {
	var unauthenticated *access.UnauthenticatedError
	var rate *access.RateError
	var quota *access.QuotaError
	switch {
	case errors.As(err, &unauthenticated):
		c.Set(fiber.HeaderWWWAuthenticate, unauthenticated.Challenge())
	case errors.As(err, &rate):
		c.Set(fiber.HeaderRetryAfter, fmt.Sprint(int(rate.RetryAfter.Seconds())+1))
	case errors.As(err, &quota):
		c.Set(fiber.HeaderRetryAfter, "60") // only a deletion helps
	case p.status == fiber.StatusUnsupportedMediaType:
		c.Set(fiber.HeaderAcceptEncoding, "identity")
	case p.status == fiber.StatusServiceUnavailable || p.status == fiber.StatusTooManyRequests:
		c.Set(fiber.HeaderRetryAfter, "1")
	}
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
		return fmt.Sprintf("the request line and the headers take more than %d bytes", transport.MaxHeaderBytes)
	case "path_not_found":
		return fmt.Sprintf("there is no path %s", c.Path())
	case "method_not_allowed":
		return fmt.Sprintf("%s is not allowed on %s, only %s", c.Method(), c.Path(), c.GetRespHeader(fiber.HeaderAllow))
	}
	text, _, _ := strings.Cut(err.Error(), ". Buffer size=") // behind it is the whole request
	return text
}
