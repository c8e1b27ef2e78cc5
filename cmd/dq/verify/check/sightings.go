package check

import "dq/cmd/dq/verify/history"

// sighting is a message at a sequence, with the operation that said so.
type sighting struct {
	message string
	at      uint64
	op      *history.Op
}

// checkSightings checks, for a topic from which messages are removed, that a sequence
// always has the same message, that a message has one sequence, and that all messages
// were sent to this topic.
func (h *topicHistory) checkSightings() {
	bySequence, byMessage := make(map[uint64]sighting), make(map[string]sighting)
	for _, s := range h.sightings() {
		h.count(checkReplay, 1)
		if h.sends[s.message] == nil {
			h.violated(checkPhantom, proof{s.op}, "%s was never sent to this topic, and was received", s.message)
			continue
		}
		if before, found := bySequence[s.at]; found && before.message != s.message {
			h.violated(checkReplay, proof{before.op, s.op}, "%s and %s both had sequence %d",
				before.message, s.message, s.at)
		}
		if before, found := byMessage[s.message]; found && before.at != s.at {
			h.violated(checkDuplicate, proof{before.op, s.op}, "%s had sequence %d and sequence %d",
				s.message, before.at, s.at)
		}
		bySequence[s.at], byMessage[s.message] = s, s
	}
}

// sightings returns what receipts and answers said of messages.
func (h *topicHistory) sightings() (all []sighting) {
	for _, op := range h.ops {
		for i, receipt := range op.Receipts {
			if receipt.Sequence > 0 && i < len(op.Data) {
				all = append(all, sighting{op.Data[i], receipt.Sequence, op})
			}
		}
		for _, m := range op.Got {
			if m.Sequence > 0 {
				all = append(all, sighting{m.Data, m.Sequence, op})
			}
		}
	}
	return all
}
