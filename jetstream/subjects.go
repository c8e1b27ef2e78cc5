package jetstream

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// subjectPrefix is the first token of the subjects of every topic.
	subjectPrefix = "dq."

	// noKey takes the place of the key in the subject of a message without a key.
	// With a subject of one token less, each topic would need two subjects, and at
	// a start the engine compares the subjects of all topics with one another.
	noKey = "-"

	// dashKey is the key "-".
	dashKey = "=2D"
)

// Subject returns the NATS subject of topic's messages with that key; "" means without
// a key.
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

// Subjects returns the wildcard subject of all of topic's messages.
func Subjects(topic string) string { return subjectPrefix + EncodeName(topic) + ".*" }

// streamOf returns the name of the stream that stores the messages on subject, which dq
// publishes on.
func streamOf(subject string) string {
	if rest, ok := strings.CutPrefix(subject, subjectPrefix); ok {
		topic, _, _ := strings.Cut(rest, ".")
		return engine.TopicPrefix + topic
	}
	if rest, ok := strings.CutPrefix(subject, "$KV."); ok {
		bucket, _, _ := strings.Cut(rest, ".")
		return bucketStream(bucket)
	}
	stream, _, _ := strings.Cut(subject, ".") // such as dq-delayed
	return stream
}

// expectStream makes m go into its own stream, or nowhere: a stream that dq did not make may listen
// on the same subject.
func expectStream(m *nats.Msg) {
	if m.Header == nil {
		m.Header = make(nats.Header, 1)
	}
	m.Header[jetstream.ExpectedStreamHeader] = []string{streamOf(m.Subject)}
}

// bucketStream returns the name of the stream that holds a key-value bucket.
func bucketStream(bucket string) string { return "KV_" + bucket }

// keyOf returns the key of a message on subject. If a NATS client published it with
// a last token that no key is encoded as, that token is the key.
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

// CheckKey returns an error that says what is wrong with key, or nil if a message may
// have it. It accepts "", which means no key.
func CheckKey(key string) error {
	if !utf8.ValidString(key) {
		return errors.New("a key must be valid UTF-8")
	}
	if n := encodedLen(key); n > MaxEncodedName {
		return fmt.Errorf("the key takes %d bytes and may take %d: "+
			"ASCII letters, digits, '-' and '_' take 1, any other byte of UTF-8 takes 3", n, MaxEncodedName)
	}
	return nil
}
