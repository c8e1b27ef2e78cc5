package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"dq/cmd/dq/verify/history"
)

// Replay checks a history that a run has written, as lines of JSON. Shared is as in
// [Options]. A history that breaks off is checked as far as it goes. It fails for
// input that is no history.
func Replay(recorded io.Reader, shared bool) (*Result, error) {
	r := newRun(Options{Shared: shared})
	in := json.NewDecoder(recorded)
	for {
		op := &history.Op{}
		err := in.Decode(op)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the history after operation %d: %w", r.rec.Operations(), err)
		}

		r.rec.Add(op)
		if op.Kind == history.OpEnd {
			if op.Final {
				r.rounds.Add(1)
			}
			r.check(op.Topic)
		}
	}

	for _, topic := range r.rec.Topics() {
		r.check(topic)
	}
	r.found.Merge(r.ids.Check())
	return r.result(), nil
}
