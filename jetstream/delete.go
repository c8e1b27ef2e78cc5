package jetstream

import (
	"context"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// Delete removes topic and all its messages. Its producers and consumers are the
// caller's job: package service deletes them first. Errors: [*TopicNotFoundError],
// [*UnavailableError].
func (t *Topics) Delete(ctx context.Context, topic string) error {
	if CheckName(topic) != nil {
		return &TopicNotFoundError{Topic: topic}
	}

	err := t.deleteStream(ctx, StreamName(topic))
	switch {
	case isMissing(err):
		return &TopicNotFoundError{Topic: topic}
	case err != nil:
		return engine.Unavailable("delete the topic", err)
	}

	t.purges(topic).Add(1)
	t.batchers.Delete(topic)
	t.memory.Remove(topic)
	return nil
}

// deleteStream deletes a stream. Only one call runs at a time, because
// RemoveDeletedFiles must not remove files that another deletion is still moving.
func (t *Topics) deleteStream(ctx context.Context, stream string) error {
	if t.opts.RemoveDeletedFiles != nil {
		if err := t.deleting.Acquire(ctx, 1); err != nil {
			return err
		}
		defer t.deleting.Release(1)
		if err := t.opts.RemoveDeletedFiles(stream); err != nil {
			return err
		}
	}
	return t.js.DeleteStream(ctx, stream)
}

// Purge removes the messages of topic up to and including the sequence upTo, or
// all if upTo is 0, and returns how many it removed. The sequences of new messages
// continue after the removed ones. Errors: [*TopicNotFoundError], [*UnavailableError].
func (t *Topics) Purge(ctx context.Context, topic string, upTo uint64) (uint64, error) {
	stream, err := t.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	before := stream.CachedInfo().State.Msgs

	var opts []jetstream.StreamPurgeOpt
	last := stream.CachedInfo().State.LastSeq
	if upTo > 0 && last == 0 { // what is stored from now on is not to be purged
		return 0, nil
	}
	// With a sequence after the last one, the engine would skip sequences.
	upTo = min(upTo, last)
	if upTo > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(upTo+1))
	}
	defer t.purges(topic).Add(1)
	if err := stream.Purge(ctx, opts...); err != nil {
		return 0, engine.Unavailable("purge the topic", err)
	}
	if upTo == 0 {
		return before, nil
	}

	info, err := stream.Info(ctx)
	if err != nil {
		return 0, engine.Unavailable("look up the topic", err)
	}
	return before - min(before, info.State.Msgs), nil
}

// purges counts how often this process purged or deleted topic. Messages that were
// read before the count changed may be gone.
func (t *Topics) purges(topic string) *atomic.Uint64 {
	if n, ok := t.purged.Load(topic); ok {
		return n.(*atomic.Uint64)
	}
	n, _ := t.purged.LoadOrStore(topic, new(atomic.Uint64))
	return n.(*atomic.Uint64)
}
