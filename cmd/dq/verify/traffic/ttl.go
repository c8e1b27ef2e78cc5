package traffic

import (
	"time"

	"dq/cmd/dq/verify/history"
)

// playTTL appends messages of which some have a TTL, and reads the topic until those
// are gone.
func playTTL(r *round) {
	if !r.setTheScene() {
		return
	}
	w := r.worker("ttl")
	for i := range 8 {
		b := batch{names: w.newMessages(1)}
		b.key, b.ttl = b.names[0], time.Duration(i%3)*time.Second // 0 is none
		if _, succeeded := w.appendAll(b); !succeeded {
			return
		}
	}

	lasting := 3 // of 8
	w.retryUntil("messages with a TTL are removed", func() (*history.Op, bool) {
		op := w.browse(browseOptions{from: 1, limit: replayLimit})
		return op, len(op.Got) <= lasting
	})
}
