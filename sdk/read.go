package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Selection says which messages of a topic to read.
type Selection struct {
	From Start  // by default [AtFirst], or [AtNew] for a stream
	Key  string // if not "", only messages with that key
}

// addTo adds the selection to a query and returns the query.
func (s Selection) addTo(query url.Values) url.Values {
	if s.From != (Start{}) {
		query.Set("from", s.From.String())
	}
	if s.Key != "" {
		query.Set("key", s.Key)
	}
	return query
}

// Limits bound how much one call returns. A zero field leaves it to the broker's
// default.
type Limits struct {
	Messages int           // 1 to 10,000; by default 1 for Fetch and 100 for Browse
	Bytes    int           // of messages, 32 MiB at most, 4 MiB by default; the message that reaches it is the last
	Wait     time.Duration // for a message, if there is none; 0 to one minute, 0 by default
}

func (l Limits) query() url.Values {
	query := make(url.Values)
	if l.Messages != 0 {
		query.Set("limit", strconv.Itoa(l.Messages))
	}
	if l.Bytes != 0 {
		query.Set("max_bytes", strconv.Itoa(l.Bytes))
	}
	if l.Wait != 0 {
		query.Set("wait", l.Wait.String())
	}
	return query
}

// Get returns the message with that sequence. Errors: [ErrTopicNotFound],
// [ErrMessageNotFound].
func (t *Topic) Get(ctx context.Context, sequence uint64) (Record, error) {
	var out wireRecord
	call := t.call(http.MethodGet, "messages", strconv.FormatUint(sequence, 10))
	call.answer = &out
	if err := t.client.do(ctx, call); err != nil {
		return Record{}, err
	}
	return out.record()
}

// Browse returns messages without a consumer, and the sequence from which to go
// on. It returns no messages if there are none after the wait. Errors:
// [ErrTopicNotFound], [ErrInvalidField].
func (t *Topic) Browse(ctx context.Context, what Selection, limits Limits) (records []Record, next uint64, err error) {
	var out struct {
		Messages []wireRecord `json:"messages"`
		Next     uint64       `json:"next"`
	}
	call := t.call(http.MethodGet, "messages")
	call.query, call.wait, call.answer = what.addTo(limits.query()), limits.Wait, &out
	if err := t.client.do(ctx, call); err != nil {
		return nil, 0, err
	}

	records, err = recordsOf(out.Messages)
	return records, out.Next, err
}

// Records yields the messages that the topic holds now, without a consumer. If a
// call fails, it yields the error and ends. Errors: those of [Topic.Browse].
func (t *Topic) Records(ctx context.Context, what Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		what := what // a second loop over the messages starts where the first did
		for {
			records, next, err := t.Browse(ctx, what, Limits{Messages: 1000})
			if err != nil {
				yield(Record{}, err)
				return
			}
			if len(records) == 0 {
				return
			}

			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
			what.From = AtSequence(next)
		}
	}
}
