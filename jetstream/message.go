package jetstream

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// contentTypeHeader is the header with the media type of a message's data.
const contentTypeHeader = "Content-Type"

// A Message is one message of a topic.
type Message struct {
	Sequence uint64 // from 1, in the order in which the topic accepted them
	Time     time.Time
	Key      string // "" if it has none

	ContentType string            // "" if it has none
	Headers     map[string]string // nil if it has none
	Data        []byte

	id string // Draft.ID
}

// A Delivery is a message that was delivered to a consumer.
type Delivery struct {
	Message
	Deliveries int    // how often it was delivered, this time included; 0 in mode auto
	Token      string // names the lease of this delivery; "" in mode auto
}

// A Draft is a message to be produced.
type Draft struct {
	Key         string
	ContentType string
	Headers     map[string]string
	Data        []byte

	// ID makes a retry safe: of several drafts with the same ID within its dedup
	// window, the topic stores only the first. "" means no ID.
	ID string
	// TTL is how long the topic keeps the message, in whole seconds; 0 means as
	// long as it keeps all messages.
	TTL time.Duration
	// At is when a [Delayer] stores the message in its topic; the zero time means now.
	At time.Time
}

// A Receipt says whether and where a draft was stored.
type Receipt struct {
	Sequence uint64 // 0 if it was not stored, or is delayed
	// Time is when the draft was sent to the engine, which stored it within
	// moments; zero for a duplicate.
	Time time.Time
	// Duplicate says that an earlier draft with the same ID was stored at
	// Sequence, and this one was not.
	Duplicate bool
	// Delayed says that the draft waits for its time, and has no sequence yet.
	Delayed bool
	// Err says why the draft was not stored, or why that is unknown.
	Err error
}

// ReservedIDPrefix starts the ids of messages that dq itself moves. The ids of
// clients must not start with it: one of them could be equal to one of dq's, and
// the later message would be dropped as a duplicate.
const ReservedIDPrefix = "dq-"

// ReservedHeader reports whether clients must not set a header of that name.
func ReservedHeader(header string) bool {
	lower := strings.ToLower(header)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "dq-") || lower == "content-type"
}

// ValidHeader reports whether a header may have that name, both in NATS and in HTTP.
func ValidHeader(name string) bool {
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) {
			return false
		}
	}
	return name != ""
}

// encode returns d as a NATS message of topic.
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

// decode returns the message in a reply of the engine to a read.
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
		if len(values) == 0 || name == contentTypeHeader || name == writeHeader ||
			strings.HasPrefix(name, "Nats-") {
			continue
		}
		if out.Headers == nil {
			out.Headers = make(map[string]string)
		}
		out.Headers[strings.ToValidUTF8(name, "\ufffd")] = values[0]
	}
	return out, nil
}

// lastValue returns the last value of a header. The engine adds its value last; a
// publisher may have set the same header before.
func lastValue(h nats.Header, name string) string {
	values := h[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
