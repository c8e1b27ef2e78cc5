package facade

import (
	"context"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/decode"
	"dq/jetstream"
)

// A redriveRequest is the body of a redrive.
type redriveRequest struct {
	To       string  `json:"to"`
	From     *uint64 `json:"from"`
	Limit    *int    `json:"limit"`
	Reason   string  `json:"reason"`
	Consumer string  `json:"consumer"`
}

// query checks r and returns what it asks for.
func (r *redriveRequest) query(topic string) (jetstream.RedriveQuery, error) {
	q := jetstream.RedriveQuery{To: r.To, Reason: r.Reason, Consumer: r.Consumer, Limit: defaultRedrive}
	if r.From != nil {
		q.From = *r.From
	}
	if r.Limit != nil {
		q.Limit = *r.Limit
	}

	switch {
	case q.Limit < 1 || q.Limit > maxMessages:
		return q, &decode.FieldError{Field: "limit", Problem: fmt.Sprintf("want 1 to %d, not %d", maxMessages, q.Limit)}
	case q.To == topic:
		return q, &decode.FieldError{Field: "to", Problem: "want another topic than the one with the dead letters"}
	}
	return q, nil
}

// redriven is the answer to a redrive.
type redriven struct {
	Redriven int              `json:"redriven"` // messages
	Failed   []redriveFailure `json:"failed,omitempty"`
	Left     uint64           `json:"left"`
	Next     uint64           `json:"next,omitzero"`
}

// redriveFailure says why dead letters that came from a topic stay where they are.
type redriveFailure struct {
	Topic    string `json:"topic"`
	Messages int    `json:"messages"`
	Code     string `json:"code"`
	Detail   string `json:"detail"`
}

// v1Redrive puts dead letters back. The caller must be allowed to consume them, too: otherwise a client could read them
// by having them moved to a topic of its own.
func (f *Facade) v1Redrive(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	var in redriveRequest
	if err := decode.OptionalJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	query, err := in.query(topic)
	if err != nil {
		return nil, err
	}

	principal := callerOf(c).principal
	if err := principal.Require(topic, access.Consume); err != nil {
		return nil, err
	}
	query.Allow = func(target string) error { return asNotFound(principal.Require(target, access.Produce)) }
	if query.To != "" {
		if err := query.Allow(query.To); err != nil {
			return nil, err
		}
		if _, err := f.service.Topics.LastSequence(ctx, query.To); err != nil {
			return nil, err
		}
	}

	result, err := f.service.Topics.Redrive(ctx, topic, query)
	if err != nil {
		return nil, err
	}
	return reply(fiber.StatusOK, viewRedriven(result)), nil
}

// viewRedriven returns the JSON of the result of a redrive.
func viewRedriven(result jetstream.Redriven) redriven {
	view := redriven{Redriven: result.Moved, Left: result.Left, Next: result.Next}
	for _, failed := range result.Failed {
		view.Failed = append(view.Failed, redriveFailure{
			Topic: failed.Topic, Messages: failed.Messages,
			Code: problemOf(failed.Err).code, Detail: failed.Err.Error(),
		})
	}
	return view
}
