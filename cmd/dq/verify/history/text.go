package history

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns op on one line: times, worker, what was asked, and the answer.
// Fields that do not matter for it are left out.
func (op *Op) String() string {
	var l line
	fmt.Fprintf(&l, "%12.6fs to %12.6fs  %-8s facade %d  %s",
		float64(op.Call)/1e9, float64(op.Return)/1e9, op.Worker, op.Facade, op.Kind)
	op.writeRequest(&l)
	fmt.Fprintf(&l, " -> %s", op.Outcome)
	op.writeAnswer(&l)
	return l.String()
}

// line is a line of text that is being written.
type line struct{ strings.Builder }

// field appends a field, if it is wanted.
func (l *line) field(name string, value any, wanted bool) {
	if wanted {
		fmt.Fprintf(l, " %s=%v", name, value)
	}
}

func (op *Op) writeRequest(l *line) {
	switch op.Kind {
	case OpProduce, OpConsume, OpFetch, OpStream, OpSocket, OpAck, OpNack, OpExtend, OpSize, OpSeek, OpPause, OpResume:
		l.field("id", op.ID, true)
	}

	l.field("name", strconv.Quote(op.Name), op.Name != "")
	l.field("mode", op.Mode, op.Mode != "")
	l.field("from", op.From, op.From > 0)
	l.field("up to", op.UpTo, op.UpTo > 0)
	l.field("limit", op.Limit, op.Limit > 0)
	l.field("key", op.Key, op.Key != "")
	l.field("of", op.MessageKey, op.MessageKey != "")
	l.field("delay", op.Delay, op.Delay > 0)
	l.field("ttl", op.TTL, op.TTL > 0)

	if op.Expected != nil {
		l.field("expected", *op.Expected, true)
	}
	if op.Settings != nil && op.Kind != OpDescribeTopic {
		l.field("settings", *op.Settings, true)
	}
	l.field("atomic", op.Atomic, op.Atomic)
	l.field("data", op.Data, len(op.Data) > 0)
	l.field("tokens", op.Tokens, len(op.Tokens) > 0)
}

func (op *Op) writeAnswer(l *line) {
	l.field("status", op.Status, op.Status > 0 && op.Outcome != OK)
	l.field("code", op.Code, op.Code != "")
	switch op.Kind {
	case OpRegisterProducer, OpRegisterConsumer, OpCreateConsumer, OpDescribeConsumer:
		l.field("id", op.ID, op.Outcome == OK)
	case OpSize:
		l.field("size", op.Size, op.Outcome == OK)
	}

	l.field("dropped", op.Dropped, op.Dropped > 0)
	if op.Last != nil {
		l.field("last", *op.Last, true)
	}
	if op.Settings != nil && op.Kind == OpDescribeTopic {
		l.field("settings", *op.Settings, true)
	}
	if op.State != nil {
		l.field("state", *op.State, true)
	}

	l.field("lost", op.LostTokens, len(op.LostTokens) > 0)
	l.field("got", summary(op.Got), len(op.Got) > 0)
	l.field("receipts", op.Receipts, len(op.Receipts) > 0)
}

// shownMessages is how many messages of an operation are shown.
const shownMessages = 12

// summary lists messages as name@sequence#deliveries.
func summary(messages []Message) string {
	var words []string
	for i, m := range messages {
		if i == shownMessages && len(messages) > shownMessages+1 {
			words = append(words, fmt.Sprintf("and %d more", len(messages)-i))
			break
		}

		word := m.Data
		if m.Sequence > 0 {
			word += fmt.Sprintf("@%d", m.Sequence)
		}
		if m.Deliveries > 0 {
			word += fmt.Sprintf("#%d", m.Deliveries)
		}
		words = append(words, word)
	}
	return "[" + strings.Join(words, " ") + "]"
}
