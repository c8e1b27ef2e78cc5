package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// Delete removes topic with all its messages, and what others keep for it ([Topics.OnGone]). The first step deletes the
// stream; from then on the topic does not exist for anybody. If the process ends before the rest is removed, the next
// call that creates or deletes a topic of that name removes it. If ctx ends before, Delete returns nil, and the rest is
// removed in the background.
// Errors: [*TopicNotFoundError], [*TopicDamagedError], [*BusyError], [*UnavailableError].
func (t *Topics) Delete(ctx context.Context, topic string) error {
	if CheckName(topic) != nil {
		return &TopicNotFoundError{Topic: topic}
	}
	if damaged := t.damaged(topic); damaged != nil {
		return damaged // its consumers and producers stay
	}

	// A part of the time is left for the caller, which may have to sync before it answers.
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/5))
		defer cancel()
	}

	deleted := make(chan struct{})
	err := t.alter(ctx, topic, func(ctx context.Context, lock *topicLock) error {
		err := t.deleteStream(ctx, lock, StreamName(topic))
		missing := isMissing(err)
		if err != nil && !missing {
			return engine.Unavailable("delete the topic", err)
		}

		if !missing {
			t.purges(topic).Add(1)
			t.batchers.Delete(topic)
			t.memory.Remove(topic)
			close(deleted)
			t.forgetPurges(ctx, topic)
		}

		if err := t.forgetDeleted(ctx, topic); err != nil {
			return err
		}
		if missing {
			return &TopicNotFoundError{Topic: topic}
		}
		return nil
	})

	if ctx.Err() != nil {
		select {
		case <-deleted:
			return nil
		default:
		}
	}
	return err
}

// forgetDeleted removes what others keep for a topic that was deleted. The stream goes to
// disk first: after a power cut a topic that is there again must not lack its consumers.
func (t *Topics) forgetDeleted(ctx context.Context, topic string) error {
	err := t.opts.sync(ctx)
	if err == nil {
		err = t.forget(ctx, topic)
	}
	if err != nil {
		t.opts.Logger.Warn("cannot remove the consumers and producers of a deleted topic: "+
			"the next start does, or the next call that creates or deletes the topic", "topic", topic, "error", err)
	}
	return err
}

// deleteStream deletes a stream of a topic. The caller holds the lock.
func (t *Topics) deleteStream(ctx context.Context, lock *topicLock, stream string) error {
	if t.opts.RemoveDeletedFiles != nil {
		if err := t.opts.RemoveDeletedFiles(stream); err != nil {
			return err
		}
	}

	if t.isGone(ctx, stream) {
		return jetstream.ErrStreamNotFound // no attempt below can have deleted it
	}

	unknown := false // whether an earlier attempt has deleted it
	_, err := repeat(ctx, t, func(ctx context.Context) (struct{}, error) {
		if err := lock.check(); err != nil {
			return struct{}{}, err
		}
		err := t.js.DeleteStream(ctx, stream)
		if unknown && isMissing(err) {
			return struct{}{}, nil
		}
		unknown = unknown || mayHaveEffect(err)
		return struct{}{}, t.doubt(ctx, stream, err)
	})
	return err
}

// isGone reports whether the engine says at once that there is no such stream. One without a leader can be deleted,
// but does not answer.
func (t *Topics) isGone(ctx context.Context, stream string) bool {
	ctx, cancel := context.WithTimeout(ctx, firstAttempt)
	defer cancel()
	_, err := tryUncut(ctx, t, func(ctx context.Context) (jetstream.Stream, error) { return t.js.Stream(ctx, stream) })
	return isMissing(t.doubt(ctx, stream, err))
}

// Purge removes the messages of topic up to and including the sequence upTo, or
// all if upTo is 0, and returns how many it removed. The sequences of new messages
// continue after the removed ones.
// Errors: [*TopicNotFoundError], [*BusyError], [*StorageFullError] if the disk has no room
// for the little that the engine writes, [*UnavailableError].
func (t *Topics) Purge(ctx context.Context, topic string, upTo uint64) (uint64, error) {
	if CheckName(topic) != nil {
		return 0, &TopicNotFoundError{Topic: topic}
	}

	// Each purge must see what earlier ones have left, and the topic must not be created again between the look at it
	// and the purge.
	removed := make(chan uint64, 1)
	err := t.alter(ctx, topic, func(ctx context.Context, lock *topicLock) error {
		n, err := t.purgeUpTo(ctx, lock, topic, upTo)
		removed <- n
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-removed, nil
}

// purgeUpTo is Purge for a caller that holds the lock.
func (t *Topics) purgeUpTo(ctx context.Context, lock *topicLock, topic string, upTo uint64) (uint64, error) {
	info, err := t.Describe(ctx, topic)
	if err != nil || info.Messages == 0 {
		return 0, err
	}

	// With a sequence after the last one, the engine would skip sequences.
	p := purge{First: info.FirstSequence, Last: info.LastSequence, Messages: info.Messages}
	if upTo > 0 && upTo < p.Last {
		p.Last = upTo
		after, err := t.Pending(ctx, topic, upTo+1, "")
		if err != nil {
			return 0, err
		}
		p.Messages -= min(after, p.Messages)
	}
	if p.Last < p.First {
		return 0, nil
	}
	if t.opts.RoomToPurge != nil {
		if err := t.opts.RoomToPurge(info.Bytes, p.Last == info.LastSequence); err != nil {
			return 0, err
		}
	}
	return t.purge(ctx, lock, info, p)
}

// purge records p and makes it. The caller holds the lock.
func (t *Topics) purge(ctx context.Context, lock *topicLock, info Topic, p purge) (uint64, error) {
	topic, created := info.Name, info.Created
	// On a full disk a purge is not recorded: the record needs room, and the purge makes room.
	record := t.opts.checkSpace() == nil
	if record {
		if err := t.recordPurge(ctx, topic, created, func(r *purgeRecord) { r.add(p) }); err != nil {
			return 0, err
		}
	}

	defer t.purges(topic).Add(1)
	removed, err := t.purgeStream(ctx, lock, StreamName(topic), p)
	switch {
	case isMissing(err):
		return 0, &TopicNotFoundError{Topic: topic}
	case err != nil:
		return 0, engine.Unavailable("purge the topic", err)
	}

	// The limits of the topic have removed some of them meanwhile.
	if record && removed < p.Messages {
		fewer := p.Messages - removed
		err = t.recordPurge(ctx, topic, created, func(r *purgeRecord) { r.correct(p.Last, fewer) })
	}
	return removed, err
}

// purgeStream makes p, and returns how many messages it has removed. The caller holds the lock.
func (t *Topics) purgeStream(ctx context.Context, lock *topicLock, stream string, p purge) (uint64, error) {
	unknown := false // whether an earlier attempt has taken effect
	return repeat(ctx, t, func(ctx context.Context) (uint64, error) {
		if err := lock.check(); err != nil {
			return 0, err
		}
		removed, err := t.removeUpTo(ctx, stream, p.Last)
		if unknown {
			removed = p.Messages
		}
		unknown = unknown || mayHaveEffect(err)
		return removed, t.doubt(ctx, stream, err)
	})
}

// removeUpTo asks the engine once to remove the messages of a stream up to a sequence.
func (t *Topics) removeUpTo(ctx context.Context, stream string, last uint64) (uint64, error) {
	request := fmt.Appendf(nil, `{"seq":%d}`, last+1)
	reply, err := t.nc.RequestWithContext(ctx, "$JS.API.STREAM.PURGE."+stream, request)
	if err != nil {
		return 0, err
	}
	var out struct {
		Error  *jetstream.APIError `json:"error"`
		Purged uint64              `json:"purged"`
	}
	if err := json.Unmarshal(reply.Data, &out); err != nil {
		return 0, err
	}
	if out.Error != nil {
		return 0, out.Error
	}
	return out.Purged, nil
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
