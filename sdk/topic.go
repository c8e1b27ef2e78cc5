package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Topic is a handle of a topic: a log of messages. It needs no closing.
type Topic struct {
	client *Client
	name   string
}

// Topic returns the handle of the topic with that name. It makes no call, and
// the topic need not be there.
func (c *Client) Topic(name string) *Topic { return &Topic{client: c, name: name} }

// Name is the topic's name.
func (t *Topic) Name() string { return t.name }

// call is a call of the topic itself or, with more parts of a path, of what is
// below it.
func (t *Topic) call(method string, parts ...string) call {
	path := "/v1/topics/" + url.PathEscape(t.name)
	for _, part := range parts {
		path += "/" + url.PathEscape(part)
	}
	return call{method: method, path: path, repeatable: method != http.MethodPost}
}

// WhenFull is what a topic does when it has reached a limit.
type WhenFull string

const (
	DropOldest WhenFull = "drop_oldest" // makes room
	RefuseNew  WhenFull = "refuse_new"  // fails with [ErrTopicFull]
)

// Storage is where a topic keeps its messages.
type Storage string

const (
	FileStorage   Storage = "file"
	MemoryStorage Storage = "memory" // they are lost when the broker stops
)

// Settings are those of a topic. Zero is no limit.
type Settings struct {
	MaxAge          time.Duration `json:"max_age"`      // how long messages are kept
	MaxBytes        int64         `json:"max_bytes"`    // of all messages
	MaxMessages     int64         `json:"max_messages"` // that are kept
	WhenFull        WhenFull      `json:"when_full"`
	MaxMessageBytes int64         `json:"max_message_bytes"` // of one message; 0 is the broker's limit
	DedupWindow     time.Duration `json:"dedup_window"`      // how long idempotency keys are remembered
	Replicas        int           `json:"replicas"`          // servers of a cluster that hold the topic, 1 to 5
	Storage         Storage       `json:"storage"`           // it cannot be changed
}

// PartialSettings are some of the [Settings]. Those that are nil are left as
// they are or, for a new topic, as the broker has them by default:
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

// TopicInfo is the settings and the state of a topic.
type TopicInfo struct {
	Name          string    `json:"name"`
	Subject       string    `json:"subject"` // for NATS clients
	Created       time.Time `json:"created"`
	Settings      Settings  `json:"settings"`
	Messages      uint64    `json:"messages"`
	Bytes         uint64    `json:"bytes"`
	FirstSequence uint64    `json:"first_sequence"`      // one more than LastSequence if there is no message
	FirstTime     time.Time `json:"first_time,omitzero"` // zero if there is no message
	LastSequence  uint64    `json:"last_sequence"`       // of the newest message that there ever was; 0 if there was none
	LastTime      time.Time `json:"last_time,omitzero"`
	// Consumers and Producers are nil in lists.
	Consumers *int `json:"consumers,omitzero"`
	Producers *int `json:"producers,omitzero"` // those of the classic API
}

// Create makes the topic if it is not there, and says whether it did. If the
// topic is there, it has to have the settings that are given. It fails with
// [ErrInvalidTopicName], [ErrInvalidSetting] or [ErrOtherSettings].
func (t *Topic) Create(ctx context.Context, settings PartialSettings) (info TopicInfo, created bool, err error) {
	var status int
	call := t.call(http.MethodPut)
	call.body, call.answer, call.status = settings, &info, &status
	err = t.client.do(ctx, call)
	return info, status == http.StatusCreated, err
}

// Describe returns the settings and the state of the topic. It fails with
// [ErrTopicNotFound].
func (t *Topic) Describe(ctx context.Context) (info TopicInfo, err error) {
	call := t.call(http.MethodGet)
	call.answer = &info
	err = t.client.do(ctx, call)
	return info, err
}

// Change changes the settings that are given. It fails with [ErrTopicNotFound]
// or [ErrInvalidSetting].
func (t *Topic) Change(ctx context.Context, settings PartialSettings) (info TopicInfo, err error) {
	call := t.call(http.MethodPatch)
	call.body, call.answer = settings, &info
	err = t.client.do(ctx, call)
	return info, err
}

// Delete deletes the topic, its messages, its consumers and its producers. It
// fails with [ErrTopicNotFound].
func (t *Topic) Delete(ctx context.Context) error {
	call := t.call(http.MethodDelete)
	call.gone = ErrTopicNotFound
	return t.client.do(ctx, call)
}

// Purge removes the messages up to the sequence upTo, or all if that is 0, and
// returns how many that were; fewer if the call had to be repeated. It fails
// with [ErrTopicNotFound].
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

// ListTopics yields the topics whose names start with prefix, by name. If a
// call fails, it yields the error and ends.
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

// pages yields the items on all pages of a list.
func pages[T any](get func(query url.Values) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		query := url.Values{"limit": {"1000"}}
		for {
			items, next, err := get(query)
			if err != nil {
				yield(none, err)
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
