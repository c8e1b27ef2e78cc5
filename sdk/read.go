package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// A Selection says which messages of a topic to read.
type Selection struct {
	From Start  // the first message by default; what is new for a stream
	Key  string // if not "", only messages with that key
}

func (s Selection) add(query url.Values) url.Values {
	if s.From != (Start{}) {
		query.Set("from", s.From.String())
	}
	if s.Key != "" {
		query.Set("key", s.Key)
	}
	return query
}

// Get returns the message with that sequence. It fails with [ErrTopicNotFound]
// or [ErrMessageNotFound].
func (t *Topic) Get(ctx context.Context, sequence uint64) (Record, error) {
	var out wireRecord
	call := t.call(http.MethodGet, "messages", strconv.FormatUint(sequence, 10))
	call.answer = &out
	if err := t.client.do(ctx, call); err != nil {
		return Record{}, err
	}
	return out.record()
}

// Browse reads messages without a consumer, and returns the sequence to go on
// from. It fails with [ErrTopicNotFound].
func (t *Topic) Browse(ctx context.Context, what Selection, limits Limits) (records []Record, next uint64, err error) {
	var out struct {
		Messages []wireRecord `json:"messages"`
		Next     uint64       `json:"next"`
	}
	call := t.call(http.MethodGet, "messages")
	call.query, call.wait, call.answer = what.add(limits.query()), limits.Wait, &out
	if err := t.client.do(ctx, call); err != nil {
		return nil, 0, err
	}
	records, err = recordsOf(out.Messages)
	return records, out.Next, err
}

// Records yields the messages that are there now, without a consumer. If a call
// fails, it yields the error and ends.
func (t *Topic) Records(ctx context.Context, what Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		what := what
		for {
			records, next, err := t.Browse(ctx, what, Limits{Messages: 1000})
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
			if len(records) == 0 {
				return
			}
			what.From = AtSequence(next)
		}
	}
}
