package facade

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"

	"dq/facade/access"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
	"dq/registry"
)

func TestProblem_EachErrorHasItsCodeAndStatuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err     error
		code    string
		status  int
		classic int
	}{
		{err: &jetstream.TopicNotFoundError{}, code: "topic_not_found", status: 404, classic: 400},
		{err: &jetstream.ConsumerNotFoundError{}, code: "consumer_not_found", status: 404, classic: 400},
		{err: &registry.ProducerNotFoundError{}, code: "producer_not_found", status: 404, classic: 400},
		{err: &service.ProducerNotRegisteredError{}, code: "producer_not_registered", status: 409, classic: 400},
		{err: &transport.UnsupportedEncodingError{}, code: "unsupported_encoding", status: 415, classic: 400},
		{err: &access.UnauthenticatedError{}, code: "unauthenticated", status: 401, classic: 401},
		{err: &access.RateError{}, code: "rate_limited", status: 429, classic: 429},
		{err: &transport.OverloadedError{}, code: "overloaded", status: 503, classic: 500},
		{err: &jetstream.StorageFullError{}, code: "storage_full", status: 503, classic: 500},
		{err: &notReadyError{reason: errors.New("no leader")}, code: "unavailable", status: 503, classic: 500},
		{err: &pathError{}, code: "path_not_found", status: 404, classic: 404},
		{err: &methodError{}, code: "method_not_allowed", status: 405, classic: 405},
		{err: &headersTooLargeError{}, code: "headers_too_large", status: 431, classic: 431},
		{err: &noUpgradeError{}, code: "upgrade_required", status: 426, classic: 426},
		{err: &originError{}, code: "origin_not_allowed", status: 403, classic: 403},
		{err: &hostError{}, code: "host_not_allowed", status: 421, classic: 421},
		{err: fiber.ErrRequestTimeout, code: "request_timeout", status: 408, classic: 408},
		{err: fiber.ErrRequestEntityTooLarge, code: "bad_request", status: 413, classic: 413},
		{err: fiber.ErrBadGateway, code: "bad_request", status: 400, classic: 400}, // a broken connection
		{err: errors.New("a bug"), code: "internal", status: 500, classic: 500},
	}
	for _, test := range tests {
		p := problemOf(fmt.Errorf("wrapped: %w", test.err))

		assert.Equal(t, test.code, p.code, "%T", test.err)
		assert.Equal(t, test.status, p.status, "%T", test.err)
		assert.Equal(t, test.classic, p.classic, "%T", test.err)
		assert.Contains(t, ErrorCodes(), test.code)
	}
}

func TestProblem_HeadersSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err         error
		name, value string
	}{
		{
			err:  &access.UnauthenticatedError{Reason: access.Missing},
			name: "WWW-Authenticate", value: `Bearer realm="dq"`,
		},
		{err: &access.RateError{RetryAfter: 1500 * time.Millisecond}, name: "Retry-After", value: "2"},
		{err: &access.QuotaError{}, name: "Retry-After", value: "60"},
		{err: &jetstream.FullError{}, name: "Retry-After", value: "1"},
		{err: &transport.OverloadedError{}, name: "Retry-After", value: "1"},
		{err: &transport.UnsupportedEncodingError{}, name: "Accept-Encoding", value: "identity"},
		{err: &handshakeError{}, name: "Sec-WebSocket-Version", value: "13"},
	}
	for _, test := range tests {
		headers := make(map[string]string)
		for _, h := range problemOf(test.err).headers {
			headers[h.name] = h.value(test.err)
		}

		assert.Equal(t, map[string]string{test.name: test.value}, headers, "%T", test.err)
	}
}

func TestProblem_InternalErrorIsNotTold(t *testing.T) {
	t.Parallel()
	secret := errors.New("cannot read /var/lib/dq")

	details := problemOf(secret).details(secret)

	assert.Equal(t, problemDetails{
		Type:   "urn:dq:problem:internal",
		Title:  "internal",
		Status: 500,
		Detail: "the broker failed on this request; its log says more",
		Code:   "internal",
	}, details)
}

func TestProblem_BadRequestIsToldWithoutTheRequest(t *testing.T) {
	t.Parallel()
	const text = "cannot find whitespace in the first line"
	err := fiber.NewError(fiber.StatusBadRequest, text+` of request "GET /secret": buffer size=4`)

	assert.Equal(t, text, problemOf(err).detail(err))
}
