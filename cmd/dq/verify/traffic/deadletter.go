package traffic

import (
	"time"

	"dq/cmd/dq/verify/history"
)

const deadSuffix = "-dead"

// playDeadLetters consumes messages of which some are never acknowledged, and reads
// those that end in the dead-letter topic.
func playDeadLetters(r *round) {
	setup := r.worker("setup")
	if !r.setTheScene() || !setup.ensureTopic(r.topic+deadSuffix) {
		return
	}
	id, created := setup.addNewConsumer(consumerSpec{
		mode: modeLease, lease: 300 * time.Millisecond, maxDeliveries: 2, deadLetterTopic: r.topic + deadSuffix,
	})
	names := setup.newMessages(15)
	if _, stored := setup.appendAll(batch{names: names, key: names[0]}); !created || !stored {
		return
	}

	r.producedAt.Store(r.rec.Now())
	work := func(w *worker) { w.failSome(id) }
	r.together(map[string]func(*worker){"d1": work, "d2": work})

	reader := r.worker("reader")
	for from := uint64(1); ; {
		op, succeeded := reader.retry("the dead letters are read", func() *history.Op { return reader.readDead(from) })
		if !succeeded || len(op.Got) == 0 {
			break
		}
		from = op.Got[len(op.Got)-1].Sequence + 1
	}
	reader.replay()
}

// failSome fetches until nothing is left. It acknowledges a third of the messages,
// gives back another, and leaves the rest until their leases run out.
func (w *worker) failSome(id int64) {
	for {
		op := w.fetch(id, fetchWait())
		if !w.proceed(op, "messages are acknowledged or become dead letters") {
			return
		}

		var acked, given []string
		for _, m := range op.Got {
			switch m.Sequence % 3 {
			case 0:
				acked = append(acked, m.Token)
			case 1:
				given = append(given, m.Token)
			}
		}
		if len(acked) > 0 {
			w.leaseCall(history.OpAck, id, acked)
		}
		if len(given) > 0 {
			w.leaseCall(history.OpNack, id, given)
		}
		if len(op.Got) > 0 {
			continue
		}
		if size := w.size(id); size.Outcome == history.OK && size.Size == 0 {
			return
		}
	}
}
