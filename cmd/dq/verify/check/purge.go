package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// purgeState is a topic from which messages are removed, and its only consumer, which
// is in mode auto.
type purgeState struct {
	first, last uint64 // sequences of the messages; first is one more than last without any
	position    uint64 // sequence of the message that the consumer got last
}

// purgeCheck checks the calls on a topic from which messages are removed.
type purgeCheck struct {
	*topicHistory
	during map[int64]bool // numbers of the operations that overlap with a purge
}

// checkPurge checks that a purge removes what it is to remove, for every reader and
// consumer from the answer on, and nothing else. Calls that overlap with it may see
// some of its messages.
func (h *topicHistory) checkPurge() {
	c := purgeCheck{topicHistory: h, during: make(map[int64]bool)}
	all := h.ops
	h.ops = slices.DeleteFunc(slices.Clone(all), func(op *history.Op) bool {
		c.during[op.N] = overlaps(op, all, history.OpPurge)
		switch op.Kind {
		case history.OpBrowse, history.OpGet, history.OpDescribeTopic:
			return c.during[op.N]
		case history.OpSize: // it is counted in two steps, so it is exact only if nothing else happens
			return overlaps(op, all)
		}
		return false
	})

	m := machine[purgeState]{start: purgeState{first: 1}, next: c.next}
	checkMachine(h, checkPurge, "the topic", m,
		history.OpAppend, history.OpPurge, history.OpBrowse, history.OpGet, history.OpDescribeTopic,
		history.OpFetch, history.OpSize)
	h.checkSightings()
}

// overlaps reports whether another call was made at the same time as op, of one of
// these kinds or, without any, of any kind.
func overlaps(op *history.Op, ops []*history.Op, kinds ...string) bool {
	return slices.ContainsFunc(ops, func(other *history.Op) bool {
		matters := other != op && (len(kinds) == 0 || slices.Contains(kinds, other.Kind))
		ended := other.Outcome != history.Unknown && other.Return < op.Call
		return matters && !ended && other.Call < op.Return
	})
}

func (c purgeCheck) next(s purgeState, op *history.Op) []purgeState {
	switch op.Kind {
	case history.OpAppend:
		return nextAppend(op, s.last, s, purgeState{s.first, s.last + uint64(len(op.Data)), s.position})
	case history.OpPurge:
		return c.purge(s, op)
	case history.OpFetch:
		if n := len(op.Got); n > 0 && c.during[op.N] {
			got := op.Got[n-1].Sequence
			return onlyIf(op.Got[0].Sequence > s.position && got <= s.last, purgeState{s.first, s.last, got})
		}
		return s.fetch(op, c.during[op.N])
	}
	return onlyIf(s.shows(op), s)
}

// purge returns the states after a purge. One of all messages may leave those that were
// appended after its call.
func (c purgeCheck) purge(s purgeState, op *history.Op) (after []purgeState) {
	if op.UpTo > 0 {
		return effect(op, s, s.purge(op.UpTo))
	}
	for left := range c.appendedDuring(op) + 1 {
		after = append(after, effect(op, s, s.purge(s.last-min(left, s.last)))...)
	}
	return after
}

// purge returns the state after the messages up to a sequence were removed.
func (s purgeState) purge(upTo uint64) purgeState {
	s.first = max(s.first, min(upTo, s.last)+1)
	return s
}

// appendedDuring returns how many messages were appended by calls that overlap with op.
func (h *topicHistory) appendedDuring(op *history.Op) (n uint64) {
	for _, other := range h.ops {
		before := other.Outcome != history.Unknown && other.Return < op.Call
		after := op.Outcome != history.Unknown && other.Call > op.Return
		if other.Kind == history.OpAppend && !before && !after {
			n += uint64(len(other.Data))
		}
	}
	return n
}

// next returns the sequence of the next message of the consumer.
func (s purgeState) next() uint64 { return max(s.position+1, s.first) }

// fetch returns the states after a fetch. During a purge it may be told that nothing
// is left, although something will be.
func (s purgeState) fetch(op *history.Op, during bool) (after []purgeState) {
	if op.Outcome == history.Unknown { // it may have taken any number of messages
		after = append(after, s)
		for n := s.next(); n <= s.last && n < s.next()+uint64(op.Limit); n++ {
			after = append(after, purgeState{s.first, s.last, n})
		}
		return after
	}

	if len(op.Got) == 0 {
		return onlyIf(during || s.next() > s.last, s)
	}
	follow, last := follows(op.Got, s.next())
	return onlyIf(follow && last <= s.last, purgeState{s.first, s.last, last})
}

// follows reports whether the sequences of messages are dense from first on, and
// returns the last one.
func follows(messages []history.Message, first uint64) (follow bool, last uint64) {
	for i, m := range messages {
		if m.Sequence != first+uint64(i) {
			return false, 0
		}
	}
	return true, first + uint64(len(messages)) - 1
}

// shows reports whether a call that reads had its answer in state s.
func (s purgeState) shows(op *history.Op) bool {
	switch op.Kind {
	case history.OpBrowse:
		from := max(op.From, s.first)
		follow, last := follows(op.Got, from)
		return follow && (last == s.last || len(op.Got) == 0 && from > s.last)
	case history.OpGet:
		return (op.Outcome == history.OK) == (s.first <= op.From && op.From <= s.last)
	case history.OpSize:
		return uint64(op.Size) == s.last+1-min(s.next(), s.last+1)
	}
	return op.State == nil || *op.State == history.State{Messages: s.last + 1 - s.first, First: s.first, Last: s.last}
}

// effect returns the state after a call that changes something: that before it too if
// the call was not answered, and only that if it was refused.
func effect[S any](op *history.Op, before, after S) []S {
	switch op.Outcome {
	case history.OK:
		return []S{after}
	case history.Refused:
		return []S{before}
	}
	return []S{before, after}
}

// nextAppend returns the states after the messages of op, all or none of them, were
// appended to a topic with that last sequence. The receipts must have the sequences
// after it.
func nextAppend[S any](op *history.Op, last uint64, before, after S) []S {
	if op.Outcome == history.OK {
		for i, receipt := range op.Receipts {
			if receipt.Sequence != last+1+uint64(i) {
				return nil
			}
		}
	}
	return effect(op, before, after)
}
