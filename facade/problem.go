package facade

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/decode"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
	"dq/registry"
)

// A problem is one row of the table that gives each error its code and status.
type problem struct {
	// code is stable: clients compare it.
	code string
	// status is the HTTP status under /v1 and on paths of no API.
	status int
	// classic is the HTTP status on the seven classic calls, whose clients take anything but 400 and 500 for a success.
	classic int
	// headers are added to the answer.
	headers []problemHeader
	// quiet keeps a failure of the broker out of the log: it was logged before, or is expected.
	quiet bool

	matches func(error) bool
	detail  func(error) string
}

// A problemHeader is a header of an answer. Its value depends on the error.
type problemHeader struct {
	name  string
	value func(error) string
}

// internalProblem reports every error that has no row in the table.
var internalProblem = problem{
	code:    "internal",
	status:  fiber.StatusInternalServerError,
	classic: fiber.StatusInternalServerError,
	detail:  func(error) string { return "the broker failed on this request; its log says more" },
}

// problems is the table: the first row that matches an error reports it. The errors of HTTP itself come last, and among
// them those with a code of their own come first.
var problems = []problem{
	refused[*jetstream.NameError]("invalid_topic_name", fiber.StatusUnprocessableEntity),
	refused[*jetstream.ExistsError]("topic_exists", fiber.StatusConflict).describe(classicExists),
	refused[*jetstream.SubjectsTakenError]("subjects_taken", fiber.StatusConflict),
	refused[*jetstream.TopicNotFoundError]("topic_not_found", fiber.StatusNotFound),
	refused[*jetstream.EmptyError]("empty", fiber.StatusNotFound).describe(classicEmpty),
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
	refused[*jetstream.FullError]("topic_full", fiber.StatusTooManyRequests).retryAfter("1"),
	refused[*jetstream.ModeError]("wrong_mode", fiber.StatusConflict),
	refused[*jetstream.LeaseError]("lease_lost", fiber.StatusConflict),
	refused[*service.OtherSettingsError]("other_settings", fiber.StatusConflict),
	refused[*NoTopicsError]("no_topics", fiber.StatusNotFound),
	refused[*decode.SyntaxError]("invalid_json", fiber.StatusBadRequest),
	refused[*decode.MissingFieldError]("missing_field", fiber.StatusBadRequest),
	refused[*transport.UnsupportedEncodingError]("unsupported_encoding", fiber.StatusUnsupportedMediaType).
		header(fiber.HeaderAcceptEncoding, "identity"),
	refused[*ContentTypeNeededError]("content_type_needed", fiber.StatusUnsupportedMediaType),
	refused[*decode.FieldError]("invalid_field", fiber.StatusBadRequest),
	refused[*transport.BodyTooLargeError]("body_too_large", fiber.StatusRequestEntityTooLarge),

	denied[*access.UnauthenticatedError]("unauthenticated", fiber.StatusUnauthorized).
		headerOf(fiber.HeaderWWWAuthenticate, challenge),
	denied[*access.ForbiddenError]("forbidden", fiber.StatusForbidden),
	denied[*access.RateError]("rate_limited", fiber.StatusTooManyRequests).
		headerOf(fiber.HeaderRetryAfter, secondsUntilRate),
	denied[*access.QuotaError]("quota_exceeded", fiber.StatusTooManyRequests).
		retryAfter("60"), // only a deletion helps

	failed[*transport.OverloadedError]("overloaded"),
	failed[*transport.SlowBodyError]("overloaded").withoutLog(), // the client's fault, if there was any
	// The engine logs what it found at its start; only somebody at the broker can help.
	failed[*jetstream.TopicDamagedError]("topic_damaged").header(fiber.HeaderRetryAfter, "60").withoutLog(),
	failed[*jetstream.StorageFullError]("storage_full").withoutLog(), // the engine logs a full disk once
	failed[*jetstream.NotStoredError]("not_stored"),
	failed[*jetstream.BusyError]("topic_busy").withoutLog(),
	failed[*jetstream.UnavailableError]("unavailable"),
	// The dead-letter topic does not exist any more, or the caller may not see it. The consumer logs that once.
	failed[*jetstream.DeadLetterError]("dead_letter_refused").withoutLog(),
	failed[*notReadyError]("unavailable").withoutLog(), // probes ask all the time

	denied[*pathError]("path_not_found", fiber.StatusNotFound),
	denied[*methodError]("method_not_allowed", fiber.StatusMethodNotAllowed), // the router sets Allow
	denied[*unknownMethodError]("method_not_allowed", fiber.StatusMethodNotAllowed).
		header(fiber.HeaderAllow, "DELETE, GET, PATCH, POST, PUT"),
	denied[*headersTooLargeError]("headers_too_large", fiber.StatusRequestHeaderFieldsTooLarge),
	denied[*noUpgradeError]("upgrade_required", fiber.StatusUpgradeRequired).
		header(fiber.HeaderUpgrade, "websocket").header(fiber.HeaderConnection, "Upgrade"),
	denied[*originError]("origin_not_allowed", fiber.StatusForbidden),
	denied[*hostError]("host_not_allowed", fiber.StatusMisdirectedRequest),
	denied[*handshakeError]("bad_request", fiber.StatusBadRequest).header(fiber.HeaderSecWebSocketVersion, "13"),
	denied[*transport.FramingError]("bad_request", fiber.StatusBadRequest),
	denied[*fiber.Error]("request_timeout", fiber.StatusRequestTimeout).when(httpStatus(fiber.StatusRequestTimeout)),
	denied[*fiber.Error]("bad_request", fiber.StatusRequestEntityTooLarge).
		when(httpStatus(fiber.StatusRequestEntityTooLarge)),
	denied[*fiber.Error]("bad_request", fiber.StatusBadRequest).describe(withoutRequest),
}

// ErrorCodes returns every code that a failure of the broker can have, sorted.
func ErrorCodes() []string {
	codes := []string{internalProblem.code}
	for _, p := range problems {
		codes = append(codes, p.code)
	}

	slices.Sort(codes)
	return slices.Compact(codes)
}

// problemOf returns the row of the table that reports err.
func problemOf(err error) *problem {
	for i := range problems {
		if problems[i].matches(err) {
			return &problems[i]
		}
	}
	return &internalProblem
}

// refused returns the row of an error that is the client's mistake.
func refused[E error](code string, status int) problem {
	return problem{code: code, status: status, classic: fiber.StatusBadRequest, matches: is[E], detail: error.Error}
}

// denied returns the row of an error that has the same status in both APIs: the caller lacks a right, or the request is
// not a call of the API. Clients of the classic API must not take the answer for that of a call.
func denied[E error](code string, status int) problem {
	return problem{code: code, status: status, classic: status, matches: is[E], detail: error.Error}
}

// failed returns the row of an error that is the broker's fault and may go away: clients try again.
func failed[E error](code string) problem {
	p := problem{
		code:    code,
		status:  fiber.StatusServiceUnavailable,
		classic: fiber.StatusInternalServerError,
		matches: is[E],
		detail:  error.Error,
	}
	return p.retryAfter("1")
}

// is reports whether err is, or wraps, an error of type E.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// when restricts the row to some errors of its type.
func (p problem) when(matches func(error) bool) problem {
	p.matches = matches
	return p
}

// header adds a header that is the same for all errors of the row.
func (p problem) header(name, value string) problem {
	return p.headerOf(name, func(error) string { return value })
}

// headerOf adds a header whose value depends on the error.
func (p problem) headerOf(name string, value func(error) string) problem {
	p.headers = append(p.headers, problemHeader{name, value})
	return p
}

// retryAfter tells clients after how many seconds to try again.
func (p problem) retryAfter(seconds string) problem {
	return p.header(fiber.HeaderRetryAfter, seconds)
}

// withoutLog keeps the errors of the row out of the log.
func (p problem) withoutLog() problem {
	p.quiet = true
	return p
}

// describe replaces the error's own text in the answer.
func (p problem) describe(detail func(error) string) problem {
	p.detail = detail
	return p
}

// httpStatus matches the errors of the HTTP server with a status.
func httpStatus(status int) func(error) bool {
	return func(err error) bool {
		var e *fiber.Error
		return errors.As(err, &e) && e.Code == status
	}
}

// challenge returns the value of WWW-Authenticate for a client without a valid token.
func challenge(err error) string {
	var e *access.UnauthenticatedError
	errors.As(err, &e)
	return e.Challenge()
}

// secondsUntilRate returns the number of whole seconds until a client is below its rate again.
func secondsUntilRate(err error) string {
	var e *access.RateError
	errors.As(err, &e)
	return strconv.Itoa(int(e.RetryAfter.Seconds()) + 1)
}

// failure is the body of a classic call, or of a path of no API, that was refused or failed.
type failure struct {
	Status  string `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// problemDetails is the body of a call under /v1 that was refused or failed, in the form of RFC 9457.
type problemDetails struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	// Tokens are those that no longer hold a lease.
	Tokens []string `json:"tokens,omitempty"`
	// Messages says of each message of a batch whether it was stored.
	Messages []receipt `json:"messages,omitempty"`
	// LastSequence is the topic's last sequence, which was not the expected one.
	LastSequence *uint64 `json:"last_sequence,omitzero"`
	// Damage says which files of the topic are damaged, and what that costs.
	Damage []jetstream.FileDamage `json:"damage,omitempty"`
}

const mimeProblem = "application/problem+json"

// fail writes the answer that reports err in the form of an API. It writes every answer that is not a success.
func (f *Facade) fail(c *fiber.Ctx, form api, err error) error {
	if err := f.writeFailure(c, form, err); err != nil {
		return err
	}
	// If refusals counted, a client that goes on asking beyond its rate would never get below it again.
	if !is[*access.RateError](err) {
		chargeAnswer(c)
	}
	return nil
}

func (f *Facade) writeFailure(c *fiber.Ctx, form api, err error) error {
	p := problemOf(err)
	status := p.status
	if form == apiClassic {
		status = p.classic
	}
	if status >= fiber.StatusInternalServerError && !p.quiet {
		f.opts.Logger.Error("request failed", "method", c.Method(), "path", c.Path(), "code", p.code, "error", err)
	}

	for _, h := range p.headers {
		c.Set(h.name, h.value(err))
	}
	if form != apiV1 {
		return writeJSON(c, status, &failure{Status: "failure", Code: p.code, Message: p.detail(err)})
	}
	details := p.details(err)
	if err := writeJSON(c, status, &details); err != nil {
		return err
	}
	c.Context().SetContentType(mimeProblem)
	return nil
}

// failLater returns the problem that a stream or socket sends to its client for err, and logs a failure of the broker.
// It is for errors after the status of the answer was sent.
func (f *Facade) failLater(err error) problemDetails {
	p := problemOf(err)
	if p.status >= fiber.StatusInternalServerError && !p.quiet {
		f.opts.Logger.Error("request failed", "code", p.code, "error", err)
	}
	return p.details(err)
}

// details returns the problem that a client under /v1 gets for err.
func (p *problem) details(err error) problemDetails {
	details := problemDetails{
		Type:   "urn:dq:problem:" + p.code,
		Title:  strings.ReplaceAll(p.code, "_", " "),
		Status: p.status,
		Detail: p.detail(err),
		Code:   p.code,
	}

	var lost *jetstream.LeaseError
	if errors.As(err, &lost) {
		details.Tokens = lost.Tokens
	}
	var sequence *jetstream.SequenceError
	if errors.As(err, &sequence) {
		details.LastSequence = sequence.Last
	}
	var damaged *jetstream.TopicDamagedError
	if errors.As(err, &damaged) {
		details.Damage = damaged.Damage.Files
	}
	var partial *PartialError
	if errors.As(err, &partial) {
		details.Messages = partial.receipts
	}
	return details
}
