package jetstream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// contentTypeHeader has the media type of a message's data.
const contentTypeHeader = "Content-Type"

// A Message is one message of a topic.
type Message struct {
	Sequence uint64 // from 1, in the order in which the topic accepted them
	Time     time.Time
	Key      string // "" if it has none

	ContentType string            // "" if it has none
	Headers     map[string]string // nil if it has none
	Data        []byte

	id string // see Draft.ID
}

// A Draft is a message to be produced.
type Draft struct {
	Key         string
	ContentType string
	Headers     map[string]string
	Data        []byte

	// ID makes a retry safe: of several drafts with one ID the topic stores the
	// first, if they come within its dedup window. "" is none.
	ID string
	// TTL is how long the topic keeps the message, in whole seconds; 0 is as
	// long as all others.
	TTL time.Duration
	// At is when the message is to be stored, if that is later than now.
	At time.Time
}

// A Receipt says what became of a draft.
type Receipt struct {
	Sequence uint64
	// Time is when the draft was sent to the engine, which stored it within
	// moments; zero for a duplicate.
	Time time.Time
	// Duplicate says that an earlier draft with the same ID was stored at
	// Sequence, and this one was not.
	Duplicate bool
	// Delayed says that it waits for its time, and has no sequence yet.
	Delayed bool
	// Err is why it was not stored, or why that is unknown.
	Err error
}

// ReservedIDPrefix is what the ids of messages that dq itself moves start with. Those of
// clients may not: one that was used before would be taken for the same message.
const ReservedIDPrefix = "dq-"

// ReservedHeader reports whether clients may not set a header of that name.
func ReservedHeader(header string) bool {
	lower := strings.ToLower(header)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "dq-") || lower == "content-type"
}

// ValidHeader reports whether a header may have that name, in NATS as in HTTP.
func ValidHeader(name string) bool {
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return name != ""
}

// CheckKey returns an error that says what is wrong with key, or nil if a
// message may have it. An empty one is no key.
func CheckKey(key string) error {
	if !utf8.ValidString(key) {
		return errors.New("a key must be valid UTF-8")
	}
	if n := encodedLen(key); n > MaxEncodedName {
		return fmt.Errorf("the key takes %d bytes and may take %d: ASCII letters, digits, '-' and '_' take 1, any other byte of UTF-8 takes 3", n, MaxEncodedName)
	}
	return nil
}

const (
	// noKey takes the place of the key in the subject of a message that has none.
	// A subject without that place would have each topic listen on two, and the
	// engine compares all subjects of all topics when it starts.
	noKey = "-"
	// dashKey is the key "-".
	dashKey = "=2D"
)

// Subject is the NATS subject of topic's messages with that key; "" is none.
func Subject(topic, key string) string {
	token := noKey
	switch key {
	case "":
	case "-":
		token = dashKey
	default:
		token = EncodeName(key)
	}
	return subjectPrefix + EncodeName(topic) + "." + token
}

// Subjects are the subjects of all of topic's messages.
func Subjects(topic string) string { return subjectPrefix + EncodeName(topic) + ".*" }

// keyOf is the key of a message on subject. One that a NATS client published
// with a token that no key is encoded as has that token as its key.
func keyOf(subject string) string {
	token := subject[strings.LastIndexByte(subject, '.')+1:]
	switch token {
	case noKey:
		return ""
	case dashKey:
		return "-"
	}
	if key, ok := DecodeName(token); ok {
		return key
	}
	return token
}

// encode is the NATS message of d in topic.
func (d *Draft) encode(topic string) *nats.Msg {
	m := nats.NewMsg(Subject(topic, d.Key))
	m.Data = d.Data
	for name, value := range d.Headers {
		m.Header[name] = []string{value}
	}
	if d.ContentType != "" {
		m.Header[contentTypeHeader] = []string{d.ContentType}
	}
	if d.ID != "" {
		m.Header[jetstream.MsgIDHeader] = []string{d.ID}
	}
	if d.TTL > 0 {
		m.Header[jetstream.MsgTTLHeader] = []string{d.TTL.String()}
	}
	return m
}

// decode is the message in what the engine answered to a read.
func decode(m *nats.Msg) (Message, error) {
	seq, err := strconv.ParseUint(lastValue(m.Header, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return Message{}, err
	}
	out := Message{Sequence: seq, Key: keyOf(lastValue(m.Header, jetstream.SubjectHeader)), Data: m.Data}
	if out.Time, err = time.Parse(time.RFC3339Nano, lastValue(m.Header, jetstream.TimeStampHeaer)); err != nil {
		return Message{}, err
	}
	out.ContentType = m.Header.Get(contentTypeHeader)
	out.id = m.Header.Get(jetstream.MsgIDHeader)
	for name, values := range m.Header {
		if len(values) == 0 || name == contentTypeHeader || strings.HasPrefix(name, "Nats-") {
			continue
		}
		if out.Headers == nil {
			out.Headers = make(map[string]string)
		}
		out.Headers[strings.ToValidUTF8(name, "\ufffd")] = values[0]
	}
	return out, nil
}

// lastValue is the header that the engine added: a publisher may have set one
// of the same name.
func lastValue(h nats.Header, name string) string {
	values := h[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// A Delivery is a message that a consumer was given.
type Delivery struct {
	Message
	// Deliveries is how often the message was handed out, and Token the lease
	// that was given on it; both are zero in mode auto.
	Deliveries int
	Token      string
}
