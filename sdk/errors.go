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

// Error is a request that the broker refused or failed.
type Error struct {
	Status  int    // the HTTP status
	Code    string // stable, such as "topic_not_found"
	Message string // for people: what was wrong, and what to do

	// RetryAfter is the pause that the broker asks for; 0 if it does not.
	RetryAfter time.Duration
	// Tokens are those that hold no lease any more, with [ErrLeaseLost]. What
	// was asked for the others is done.
	Tokens []string
	// Receipts say what became of each message of a batch, if some of it is
	// stored.
	Receipts []Receipt
	// LastSequence is what it is, with [ErrWrongLastSequence]; 0 if that is not
	// known.
	LastSequence uint64
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is an [*Error] with the same code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// The refusals, for errors.Is.
var (
	ErrTopicExists           = &Error{Code: "topic_exists"}
	ErrTopicNotFound         = &Error{Code: "topic_not_found"}
	ErrInvalidTopicName      = &Error{Code: "invalid_topic_name"}
	ErrTopicFull             = &Error{Code: "topic_full"} // and it refuses new messages
	ErrProducerNotFound      = &Error{Code: "producer_not_found"}
	ErrConsumerNotFound      = &Error{Code: "consumer_not_found"}
	ErrProducerNotRegistered = &Error{Code: "producer_not_registered"} // for this topic
	ErrConsumerNotRegistered = &Error{Code: "consumer_not_registered"} // for this topic
	ErrOtherSettings         = &Error{Code: "other_settings"}          // the topic or consumer is there, with others
	ErrInvalidSetting        = &Error{Code: "invalid_setting"}

	ErrEmpty             = &Error{Code: "empty"}             // nothing left to consume
	ErrMessageNotFound   = &Error{Code: "message_not_found"} // at this sequence
	ErrMessageTooLarge   = &Error{Code: "message_too_large"}
	ErrBodyTooLarge      = &Error{Code: "body_too_large"}
	ErrBatchTooLarge     = &Error{Code: "batch_too_large"} // too many messages
	ErrInvalidBatch      = &Error{Code: "invalid_batch"}
	ErrWrongLastSequence = &Error{Code: "wrong_last_sequence"}
	ErrWrongMode         = &Error{Code: "wrong_mode"} // not for a consumer of this mode
	ErrLeaseLost         = &Error{Code: "lease_lost"} // another may have the message by now

	ErrDeadLetterRefused = &Error{Code: "dead_letter_refused"} // by a topic that the token does not see

	ErrInvalidField = &Error{Code: "invalid_field"}
	ErrMissingField = &Error{Code: "missing_field"}
	ErrInvalidJSON  = &Error{Code: "invalid_json"}

	ErrUnauthenticated = &Error{Code: "unauthenticated"} // no token, or one that is not valid
	ErrForbidden       = &Error{Code: "forbidden"}       // the token does not allow it
	ErrRateLimited     = &Error{Code: "rate_limited"}
	ErrQuotaExceeded   = &Error{Code: "quota_exceeded"}
	ErrOverloaded      = &Error{Code: "overloaded"}  // too much is under way
	ErrUnavailable     = &Error{Code: "unavailable"} // the broker could not do its work
	ErrInternal        = &Error{Code: "internal"}    // a bug in the broker

	errNoTopics = &Error{Code: "no_topics"}
)

// Other errors, for errors.Is.
var (
	// ErrOutcomeUnknown is a call that was sent and not answered as it should.
	// It may have taken effect: a message may be stored, a consumer may have
	// moved past a message that nobody got, an id may be given to nobody.
	ErrOutcomeUnknown = errors.New("whether the call took effect is unknown")

	// ErrUnreachable is a call that did not reach a broker, and has no effect.
	ErrUnreachable = errors.New("no broker can be reached")

	// ErrInvalidText is a name, key, header or text that is not valid UTF-8. It
	// was not sent: JSON cannot carry it. Data may be any bytes.
	ErrInvalidText = errors.New("not valid UTF-8")

	// ErrClosed is a use of a producer or consumer after its Close.
	ErrClosed = errors.New("already closed")
)

// unknown makes err an error whose outcome is unknown.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }

// failure is the body of an answer that is no success: a classic one, or
// problem details as RFC 9457 has them.
type failure struct {
	Code         string         `json:"code"`
	Message      jsontext.Value `json:"message"` // classic
	Detail       string         `json:"detail"`
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

func (f *failure) error(status int) *Error {
	e := &Error{
		Status: status, Code: f.Code, Message: f.Detail,
		Tokens: f.Tokens, Receipts: f.Messages, LastSequence: f.LastSequence,
	}
	if e.Message == "" && f.Message != nil {
		_ = json.Unmarshal(f.Message, &e.Message) // if it is no text, the whole body is shown
	}
	return e
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second //nolint:gosec // it has 31 bits
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(time.Until(date), 0)
	}
	return 0
}

// classicCode tells a refusal by its text, for brokers that send no code.
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
	return "unknown"
}
