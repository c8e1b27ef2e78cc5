package check

import "dq/cmd/dq/verify/history"

// withKey returns the history as clients see it that ask for a key: its log has only messages with that key.
func (h *topicHistory) withKey(key string) *topicHistory {
	view := *h
	view.log, view.index = nil, make(map[string]int)
	for _, e := range h.log {
		if e.send != nil && e.send.key() == key {
			view.index[e.data] = len(view.log)
			view.log = append(view.log, e)
		}
	}
	return &view
}

// checkKeyOf checks that a message was received with the key that it was sent with, and
// that op asked for this key or for all.
func (h *topicHistory) checkKeyOf(op *history.Op, m history.Message, s *send, wanted string) {
	if s == nil || op.Kind == history.OpConsume { // that shows no keys
		return
	}
	h.count(checkKey, 1)
	ops := append(proof{op}, s.ops...)
	switch key := s.key(); {
	case m.Key != key:
		h.violated(checkKey, ops, "%s was sent with key %q, and received with key %q", m.Data, key, m.Key)
	case wanted != "" && key != wanted:
		h.violated(checkKey, ops, "%s has key %q, and was given to somebody who asked for key %q", m.Data, key, wanted)
	}
}

// key returns the key of the message.
func (s *send) key() string { return s.ops[0].MessageKey }

// seenIn returns the deliveries of c with the indexes that they have in a view of the
// history.
func (c *consumer) seenIn(h, view *topicHistory) (deliveries []delivery) {
	for _, d := range c.deliveries {
		if index, found := view.index[h.log[d.index].data]; found {
			d.index = index
			deliveries = append(deliveries, d)
		}
	}
	return deliveries
}
