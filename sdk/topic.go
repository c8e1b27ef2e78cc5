package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Topic is a handle of a topic, which is a log of messages. It is safe for
// concurrent use and needs no closing.
type Topic struct {
	client *Client
	name   string
}

// Topic returns the handle of the topic with that name. It makes no call, and the
// topic need not exist.
func (c *Client) Topic(name string) *Topic { return &Topic{client: c, name: name} }

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// call returns a call about the topic itself or, with more parts of a path, about
// what is below it.
func (t *Topic) call(method string, parts ...string) call {
	path := "/v1/topics/" + url.PathEscape(t.name)
	for _, part := range parts {
		path += "/" + url.PathEscape(part)
	}
	return call{method: method, path: path, repeatable: method != http.MethodPost}
}

// WhenFull says what a topic does with new messages when it has reached MaxBytes
// or MaxMessages.
type WhenFull string

const (
	// DropOldest removes the oldest messages to make room.
	DropOldest WhenFull = "drop_oldest"
	// RefuseNew refuses new messages with [ErrTopicFull].
	RefuseNew WhenFull = "refuse_new"
)

// Storage says where a topic keeps its messages.
type Storage string

const (
	// FileStorage keeps messages on disk.
	FileStorage Storage = "file"
	// MemoryStorage keeps messages in memory. They are lost when the broker stops.
	MemoryStorage Storage = "memory"
)

// Settings are the settings of a topic.
type Settings struct {
	MaxAge          time.Duration `json:"max_age"`           // how long messages are kept; 0 for ever
	MaxBytes        int64         `json:"max_bytes"`         // of all messages; 0 for no limit
	MaxMessages     int64         `json:"max_messages"`      // how many are kept; 0 for no limit
	WhenFull        WhenFull      `json:"when_full"`         // what happens at these limits
	MaxMessageBytes int64         `json:"max_message_bytes"` // of one message; 0 for the broker's limit
	DedupWindow     time.Duration `json:"dedup_window"`      // how long idempotency keys are remembered
	Replicas        int           `json:"replicas"`          // how many servers of a cluster hold the topic, 1 to 5
	Storage         Storage       `json:"storage"`           // cannot be changed
}

// PartialSettings are some of the [Settings]. A field that is nil leaves the
// setting as it is or, for a new topic, to the broker's default:
//
//	sdk.PartialSettings{MaxAge: new(24 * time.Hour), WhenFull: new(sdk.RefuseNew)}
type PartialSettings struct {
	MaxAge          *time.Duration `json:"max_age,omitzero"`
	MaxBytes        *int64         `json:"max_bytes,omitzero"`
	MaxMessages     *int64         `json:"max_messages,omitzero"`
	WhenFull        *WhenFull      `json:"when_full,omitzero"`
	MaxMessageBytes *int64         `json:"max_message_bytes,omitzero"`
	DedupWindow     *time.Duration `json:"dedup_window,omitzero"`
	Replicas        *int           `json:"replicas,omitzero"`
	Storage         *Storage       `json:"storage,omitzero"`
}

// A TopicInfo is the settings and the state of a topic.
type TopicInfo struct {
	Name     string    `json:"name"`
	Subject  string    `json:"subject"` // for NATS clients
	Created  time.Time `json:"created"`
	Settings Settings  `json:"settings"`
	Messages uint64    `json:"messages"` // how many the topic holds
	Bytes    uint64    `json:"bytes"`    // of these messages

	FirstSequence uint64    `json:"first_sequence"`      // of the oldest message; LastSequence + 1 if there is none
	FirstTime     time.Time `json:"first_time,omitzero"` // of the oldest message; zero if there is none
	LastSequence  uint64    `json:"last_sequence"`       // of the newest message, even a removed one; 0 if none
	LastTime      time.Time `json:"last_time,omitzero"`  // of the same message; zero if there was none

	Consumers *int `json:"consumers,omitzero"` // how many are registered; nil in lists
	Producers *int `json:"producers,omitzero"` // how many the classic API registered; nil in lists

	// Damage is set only in lists. It says why the topic is not served: calls for it fail with [ErrTopicDamaged]. Then
	// only the name of the topic is known.
	Damage []FileDamage `json:"damage,omitempty"`
}

// Create creates the topic if it does not exist, and reports whether it did. A
// topic that exists must have the settings that are given. Errors:
// [ErrInvalidTopicName], [ErrInvalidSetting], [ErrOtherSettings],
// [ErrQuotaExceeded].
func (t *Topic) Create(ctx context.Context, settings PartialSettings) (info TopicInfo, created bool, err error) {
	var status int
	call := t.call(http.MethodPut)
	call.body, call.answer, call.status = settings, &info, &status
	err = t.client.do(ctx, call)
	return info, status == http.StatusCreated, err
}

// Describe returns the settings and the state of the topic. Errors:
// [ErrTopicNotFound].
func (t *Topic) Describe(ctx context.Context) (info TopicInfo, err error) {
	call := t.call(http.MethodGet)
	call.answer = &info
	err = t.client.do(ctx, call)
	return info, err
}

// Change changes the settings that are given and returns the topic's new state.
// Errors: [ErrTopicNotFound], [ErrInvalidSetting].
func (t *Topic) Change(ctx context.Context, settings PartialSettings) (info TopicInfo, err error) {
	call := t.call(http.MethodPatch)
	call.body, call.answer = settings, &info
	err = t.client.do(ctx, call)
	return info, err
}

// Delete deletes the topic, its messages, its consumers and its producers. Errors:
// [ErrTopicNotFound].
func (t *Topic) Delete(ctx context.Context) error {
	call := t.call(http.MethodDelete)
	call.gone = ErrTopicNotFound
	return t.client.do(ctx, call)
}

// Purge removes the messages up to and including the sequence upTo, or all if it
// is 0, and returns how many it removed. The number is too low if the answer to a
// first attempt was lost. Errors: [ErrTopicNotFound].
func (t *Topic) Purge(ctx context.Context, upTo uint64) (purged uint64, err error) {
	var out struct {
		Purged uint64 `json:"purged"`
	}
	call := t.call(http.MethodDelete, "messages")
	call.answer = &out
	if upTo > 0 {
		call.query = url.Values{"up_to": {strconv.FormatUint(upTo, 10)}}
	}

	err = t.client.do(ctx, call)
	return out.Purged, err
}

// ListTopics yields the topics whose names start with prefix, in the order of their names. It yields each topic that
// exists all the time exactly once. If a call fails, it yields the error and ends.
func (c *Client) ListTopics(ctx context.Context, prefix string) iter.Seq2[TopicInfo, error] {
	return pages(func(query url.Values) (items []TopicInfo, next string, err error) {
		if prefix != "" {
			query.Set("prefix", prefix)
		}
		var out struct {
			Topics []TopicInfo `json:"topics"`
			Next   string      `json:"next"`
		}
		err = c.do(ctx, call{method: http.MethodGet, path: "/v1/topics", query: query, answer: &out, repeatable: true})
		return out.Topics, out.Next, err
	})
}

// pages yields the items on all pages of a list. Get returns the items of one page
// and the text that asks for the page after it, "" if it is the last.
func pages[T any](get func(query url.Values) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := url.Values{"limit": {"1000"}}
		for {
			items, next, err := get(query)
			if err != nil {
				yield(*new(T), err)
				return
			}

			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}

			if next == "" {
				return
			}
			query.Set("after", next)
		}
	}
}
