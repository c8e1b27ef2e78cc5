package sdk

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// A NewMessage is a message to produce. All fields may be zero.
type NewMessage struct {
	// Data may be any bytes; how many is up to the topic's MaxMessageBytes.
	Data        []byte `json:"-"`
	Key         string `json:"key,omitzero"`          // consumers may ask for the messages of one key
	ContentType string `json:"content_type,omitzero"` // of Data, such as "application/json"

	// Headers may take 16 KiB: the bytes of names and values, and 32 for each. The
	// broker reserves names that start with Nats- or Dq-.
	Headers map[string]string `json:"headers,omitempty"`

	// IdempotencyKey makes it safe to produce the message again, at once or delayed:
	// while it waits, and within the topic's dedup window after it was stored, no
	// other message with that key is stored. It has at most 256 bytes, and does not
	// start with dq-.
	IdempotencyKey string `json:"idempotency_key,omitzero"`

	TTL       time.Duration `json:"ttl,omitzero"`        // removes the message after so many whole seconds
	Delay     time.Duration `json:"delay,omitzero"`      // stores the message after that time; a year at most
	DeliverAt time.Time     `json:"deliver_at,omitzero"` // stores the message at that time; instead of Delay
}

// Text returns a message with that text as its data.
func Text(text string) NewMessage { return NewMessage{Data: []byte(text)} }

// A Record is a message that a topic holds.
type Record struct {
	Sequence    uint64            `json:"sequence"` // of the topic's messages, from 1
	Time        time.Time         `json:"time"`     // when it was stored
	Key         string            `json:"key,omitzero"`
	ContentType string            `json:"content_type,omitzero"`
	Headers     map[string]string `json:"headers,omitempty"`
	Data        []byte            `json:"-"`

	// Token acknowledges the message, in mode lease; "" otherwise.
	Token string `json:"token,omitzero"`
	// Deliveries counts how often the message was handed out, this time included,
	// in mode lease; 0 otherwise.
	Deliveries int `json:"deliveries,omitzero"`
}

// MarshalJSON writes the record as the broker does: with the field data, or
// data_base64 if the data is not valid UTF-8.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireRecord{recordFields(r), payloadOf(r.Data)}, jsonOptions)
}

// payload is the data of a message in JSON.
type payload struct {
	Text   *string `json:"data,omitzero"`
	Base64 *string `json:"data_base64,omitzero"`
}

func payloadOf(data []byte) payload {
	if utf8.Valid(data) {
		return payload{Text: new(string(data))}
	}
	return payload{Base64: new(base64.StdEncoding.EncodeToString(data))}
}

func (p payload) data() ([]byte, error) {
	switch {
	case p.Base64 != nil:
		return base64.StdEncoding.DecodeString(*p.Base64)
	case p.Text != nil:
		return []byte(*p.Text), nil
	}
	return nil, nil
}

// These types are messages in JSON. They exist besides MarshalJSON because a
// batch is read and written twice as fast with them as with such methods.
type (
	recordFields Record
	wireRecord   struct {
		recordFields
		payload
	}
	wireMessage struct {
		NewMessage
		payload
	}
)

func (w *wireRecord) record() (Record, error) {
	r := Record(w.recordFields)
	var err error
	r.Data, err = w.data()
	return r, err
}

func recordsOf(wire []wireRecord) ([]Record, error) {
	records := make([]Record, len(wire))
	for i := range wire {
		var err error
		if records[i], err = wire[i].record(); err != nil {
			return nil, err
		}
	}
	return records, nil
}
