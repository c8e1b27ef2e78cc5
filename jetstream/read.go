package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Message is one message of a topic.
type Message struct {
	Sequence uint64 // from 1, in the order in which the topic accepted them
	Data     []byte
}

// getRequest is the body of the engine's direct get (ADR-31).
type getRequest struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

const (
	statusHeader  = "Status"
	pendingHeader = "Nats-Num-Pending"

	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// Read returns messages of topic from sequence from on, in order: at most count
// of them, and no more once they hold maxBytes bytes. It returns as well how
// many more there are behind the last one. No message is no error.
// Errors: [*NotFoundError], [*UnavailableError].
//
// It is the engine's batched direct get. The existing library for it takes a
// lost answer for the end of the batch, and we must not.
func (t *Topics) Read(ctx context.Context, topic string, from uint64, count, maxBytes int) (msgs []Message, pending uint64, err error) {
	body, err := json.Marshal(getRequest{Seq: max(from, 1), Batch: count, MaxBytes: maxBytes})
	if err != nil {
		return nil, 0, unavailable("read", err)
	}
	inbox := nats.NewInbox()
	sub, err := t.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, 0, unavailable("read", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := t.nc.PublishRequest("$JS.API.DIRECT.GET."+StreamName(topic), inbox, body); err != nil {
		return nil, 0, unavailable("read", err)
	}
	for {
		reply, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, 0, unavailable("read", err)
		}
		switch status := reply.Header.Get(statusHeader); status {
		case "":
			seq, err := strconv.ParseUint(reply.Header.Get(jetstream.SequenceHeader), 10, 64)
			if err != nil {
				return nil, 0, unavailable("read", fmt.Errorf("a message without its sequence: %w", err))
			}
			msgs = append(msgs, Message{Sequence: seq, Data: reply.Data})
		case statusEndOfBatch:
			pending, err = strconv.ParseUint(reply.Header.Get(pendingHeader), 10, 64)
			if err != nil {
				return nil, 0, unavailable("read", fmt.Errorf("an end of batch without the number of pending messages: %w", err))
			}
			return msgs, pending, nil
		case statusNotFound:
			return nil, 0, nil
		case statusNoResponders:
			return nil, 0, &NotFoundError{Topic: topic}
		default:
			return nil, 0, unavailable("read", fmt.Errorf("status %s: %s", status, reply.Header.Get("Description")))
		}
	}
}

// Pending is how many messages of topic there are from sequence from on.
// Errors: as for [Topics.Read].
func (t *Topics) Pending(ctx context.Context, topic string, from uint64) (uint64, error) {
	msgs, behind, err := t.Read(ctx, topic, from, 1, 1)
	return uint64(len(msgs)) + behind, err
}
