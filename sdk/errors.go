package sdk

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An Error is a refusal of the broker, or a failure that it reports.
type Error struct {
	Status  int    // the HTTP status; 0 if the client itself refused the call
	Code    string // stable, such as "topic_not_found"; each has a variable below
	Message string // for people: what was wrong, and what to do

	// RetryAfter is the pause that the broker asks for; 0 if it asks for none.
	RetryAfter time.Duration
	// Tokens are those that hold no lease any more, with [ErrLeaseLost]. What the
	// call asked for the other tokens is done.
	Tokens []string
	// Receipts say what became of each message of a batch of which only some are
	// stored; nil otherwise.
	Receipts []Receipt
	// LastSequence is the topic's last sequence, with [ErrWrongLastSequence]; 0 if
	// the broker does not know it.
	LastSequence uint64
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is an [*Error] with the same code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// All codes that a broker sends, as errors for errors.Is. The same codes are
// listed in the broker's OpenAPI description.
var (
	// About topics:
	ErrTopicExists      = &Error{Code: "topic_exists"}
	ErrSubjectsTaken    = &Error{Code: "subjects_taken"} // a stream of others listens on its subjects
	ErrTopicNotFound    = &Error{Code: "topic_not_found"}
	ErrNoTopics         = &Error{Code: "no_topics"} // the classic list of topics is empty
	ErrInvalidTopicName = &Error{Code: "invalid_topic_name"}
	ErrInvalidSetting   = &Error{Code: "invalid_setting"}
	ErrOtherSettings    = &Error{Code: "other_settings"} // the topic or consumer exists, with other settings
	ErrTopicFull        = &Error{Code: "topic_full"}     // and it refuses new messages
	ErrTopicBusy        = &Error{Code: "topic_busy"}     // an earlier call still creates, changes, purges or deletes it

	// About producers and consumers:
	ErrProducerNotFound      = &Error{Code: "producer_not_found"}
	ErrProducerNotRegistered = &Error{Code: "producer_not_registered"} // it belongs to another topic
	ErrConsumerNotFound      = &Error{Code: "consumer_not_found"}
	ErrConsumerNotRegistered = &Error{Code: "consumer_not_registered"} // it belongs to another topic
	ErrWrongMode             = &Error{Code: "wrong_mode"}              // the call is not for a consumer of this mode
	ErrSuperseded            = &Error{Code: "superseded"}              // another stream of the consumer has taken over
	ErrLeaseLost             = &Error{Code: "lease_lost"}              // another worker may have the message by now
	ErrDeadLetterRefused     = &Error{Code: "dead_letter_refused"}     // the topic was deleted, or is hidden

	// About messages:
	ErrEmpty             = &Error{Code: "empty"}               // no message is left to consume
	ErrMessageNotFound   = &Error{Code: "message_not_found"}   // the topic has none with this sequence
	ErrMessageTooLarge   = &Error{Code: "message_too_large"}   // for the topic or the broker
	ErrOriginNotAllowed  = &Error{Code: "origin_not_allowed"}  // a page of another origin asked
	ErrHostNotAllowed    = &Error{Code: "host_not_allowed"}    // the name may be somebody else's: DNS rebinding
	ErrBodyTooLarge      = &Error{Code: "body_too_large"}      // too many bytes in one call
	ErrBatchTooLarge     = &Error{Code: "batch_too_large"}     // too many messages in one call
	ErrInvalidBatch      = &Error{Code: "invalid_batch"}       // it is empty, or what it asks for does not go together
	ErrDuplicateBatch    = &Error{Code: "duplicate_batch"}     // atomic, and an idempotency key is used twice
	ErrWrongLastSequence = &Error{Code: "wrong_last_sequence"} // the topic's last sequence is not the expected one

	// About malformed requests:
	ErrBadRequest          = &Error{Code: "bad_request"} // not valid HTTP, or a WebSocket that the broker does not open
	ErrInvalidJSON         = &Error{Code: "invalid_json"}
	ErrInvalidField        = &Error{Code: "invalid_field"}
	ErrMissingField        = &Error{Code: "missing_field"}
	ErrUnsupportedEncoding = &Error{Code: "unsupported_encoding"} // of a body, such as gzip
	ErrContentTypeNeeded   = &Error{Code: "content_type_needed"}  // messages in JSON that are not said to be JSON
	ErrPathNotFound        = &Error{Code: "path_not_found"}
	ErrMethodNotAllowed    = &Error{Code: "method_not_allowed"}
	ErrUpgradeRequired     = &Error{Code: "upgrade_required"} // the path is for WebSockets only
	ErrHeadersTooLarge     = &Error{Code: "headers_too_large"}
	ErrRequestTimeout      = &Error{Code: "request_timeout"} // the request came in too slowly

	// About the caller's token and its limits:
	ErrUnauthenticated = &Error{Code: "unauthenticated"} // no token, or one that is not valid
	ErrForbidden       = &Error{Code: "forbidden"}       // the token does not allow the call
	ErrRateLimited     = &Error{Code: "rate_limited"}    // too many calls with this token
	ErrQuotaExceeded   = &Error{Code: "quota_exceeded"}  // the token may have no more topics or consumers

	// About the broker:
	ErrOverloaded  = &Error{Code: "overloaded"}   // too many calls are under way
	ErrStorageFull = &Error{Code: "storage_full"} // the disk has no room for new data
	ErrNotStored   = &Error{Code: "not_stored"}   // the engine took nothing: send it again
	// ErrTopicDamaged means that files of the topic are damaged, and it is not served.
	ErrTopicDamaged = &Error{Code: "topic_damaged"}
	ErrUnavailable  = &Error{Code: "unavailable"} // the broker could not do its work
	ErrInternal     = &Error{Code: "internal"}    // a bug in the broker
)

// codeUnknown is the code of an answer that has none, such as one of a proxy.
const codeUnknown = "unknown"

// Errors of the client itself, for errors.Is.
var (
	// ErrOutcomeUnknown says that a call was sent, but its answer was lost or said
	// that the broker failed halfway. The call may have taken effect: a message
	// may be stored, a consumer may have moved past a message that nobody
	// received, an id may be registered that nobody knows.
	ErrOutcomeUnknown = errors.New("whether the call took effect is unknown")

	// ErrUnreachable says that a call did not reach a broker. It has no effect.
	ErrUnreachable = errors.New("no broker can be reached")

	// ErrInvalidText says that a name, key, header or text is not valid UTF-8. It
	// was not sent: JSON cannot carry it. The data of a message may be any bytes.
	ErrInvalidText = errors.New("not valid UTF-8")

	// ErrClosed says that a producer or consumer was used after its Close.
	ErrClosed = errors.New("already closed")
)

// unknown adds [ErrOutcomeUnknown] to err.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }

// failure is the body of an answer to a call that failed: a failure of the classic API,
// or problem details (RFC 9457).
type failure struct {
	Code         string         `json:"code"`
	Message      jsontext.Value `json:"message"` // of the classic API
	Detail       string         `json:"detail"`  // of problem details
	Tokens       []string       `json:"tokens"`
	Messages     []Receipt      `json:"messages"`
	LastSequence uint64         `json:"last_sequence"`
}

// refusal reads the answer of a call that did not succeed.
func refusal(response *http.Response, raw []byte) *Error {
	var f failure
	err := json.Unmarshal(raw, &f, jsonOptions)

	failed := f.error(response.StatusCode)
	if err != nil || failed.Message == "" {
		failed.Message = fmt.Sprintf("HTTP status %d: %.200s", response.StatusCode, raw)
	}
	if failed.Code == "" {
		failed.Code = classicCode(failed.Message)
	}
	failed.RetryAfter = retryAfter(response.Header.Get("Retry-After"))
	return failed
}

// error returns the failure as the client's users see it.
func (f *failure) error(status int) *Error {
	e := &Error{
		Status: status, Code: f.Code, Message: f.Detail,
		Tokens: f.Tokens, Receipts: f.Messages, LastSequence: f.LastSequence,
	}
	if e.Message == "" && f.Message != nil {
		_ = json.Unmarshal(f.Message, &e.Message) // if it is not a text, refusal shows the body instead
	}
	return e
}

// retryAfter reads the header of that name: seconds, or a date. It returns 0 if
// the value is neither, or a date that has passed.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// classicCode returns the code of a refusal of the classic API by its text, for
// old brokers that send no code.
func classicCode(message string) string {
	for _, row := range []struct{ start, part, code string }{
		{"Topic:", " already exist", "topic_exists"},
		{"Topic:", " does not exist", "topic_not_found"},
		{"Producer:", " does not exist", "producer_not_found"},
		{"Consumer:", " does not exist", "consumer_not_found"},
		{"Producer:", " is not registered with ", "producer_not_registered"},
		{"Consumer:", " is not registered with ", "consumer_not_registered"},
		{"Empty logs for ", "", "empty"},
		{"No Topic found", "", "no_topics"},
	} {
		if strings.HasPrefix(message, row.start) && strings.Contains(message, row.part) {
			return row.code
		}
	}
	return codeUnknown
}
