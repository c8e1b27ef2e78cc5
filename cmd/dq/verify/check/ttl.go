package check

import (
	"slices"
	"time"

	"dq/cmd/dq/verify/history"
)

// expirySlack is how long a message may be there after its TTL, in nanoseconds. The
// engine removes messages when a timer fires, and a process may stand still.
const expirySlack = int64(10 * time.Second)

// checkTTL checks that a message with a TTL is there until then, gone soon after, and
// does not come back; and that others stay.
func (h *topicHistory) checkTTL() {
	for _, sent := range h.ops {
		if sent.Kind != history.OpAppend || sent.Outcome != history.OK {
			continue
		}
		var gone *history.Op // the first read without the message
		for _, read := range h.ops {
			if read.Kind == history.OpBrowse && read.Outcome == history.OK && read.Call > sent.Return {
				gone = h.checkExpiry(sent, read, gone)
			}
		}
	}
	h.checkSightings()
}

// checkExpiry checks what a read that was called after a message was stored shows of
// it. Gone is an earlier read that did not show the message, or nil; the result is
// that for the next read.
func (h *topicHistory) checkExpiry(sent, read, gone *history.Op) *history.Op {
	h.count(checkTTL, 1)
	name, ttl := sent.Data[0], int64(sent.TTL)
	shown := slices.ContainsFunc(read.Got, func(m history.Message) bool { return m.Data == name })
	switch {
	case !shown && (ttl == 0 || read.Return < h.sends[name].call+ttl): // it may repeat a call that stored it
		h.violated(checkTTL, proof{sent, read}, "%s was removed before its TTL of %s", name, sent.TTL)
	case shown && gone != nil && gone.Return < read.Call:
		h.violated(checkTTL, proof{sent, gone, read}, "%s was gone, and came back", name)
	case shown && ttl > 0 && read.Call > sent.Return+ttl+expirySlack:
		h.violated(checkTTL, proof{sent, read}, "%s is there %s after its TTL of %s", name,
			time.Duration(read.Call-sent.Return-ttl).Round(time.Millisecond), sent.TTL)
	}
	if gone == nil && !shown {
		return read
	}
	return gone
}
