package check_test

import (
	"slices"
	"time"

	"dq/cmd/dq/verify/history"
)

const (
	step     = int64(10 * time.Millisecond)
	duration = int64(4 * time.Millisecond)
)

// story is a history that a test writes down: one call after the other, each with a
// label under which the test can change it.
type story struct {
	ops    []*history.Op
	labels map[string]*history.Op
}

// add adds a successful call after all others, unless op says something else.
func (s *story) add(label string, op history.Op) {
	op.N = int64(len(s.ops) + 1)
	op.Topic = "t"
	op.Call = op.N * step
	op.Return = op.Call + duration
	if op.Outcome == "" {
		op.Outcome, op.Status = history.OK, 200
	}
	s.ops = append(s.ops, &op)
	if s.labels == nil {
		s.labels = make(map[string]*history.Op)
	}
	s.labels[label] = &op
}

// remove takes a call out of the story.
func (s *story) remove(label string) {
	op := s.labels[label]
	s.ops = slices.DeleteFunc(s.ops, func(other *history.Op) bool { return other == op })
}

// insertBefore moves the call that was added last to the moment before another.
func (s *story) insertBefore(label string) {
	op, next := s.ops[len(s.ops)-1], s.labels[label]
	op.Call, op.Return = next.Call-3, next.Call-2
}

func got(names ...string) (messages []history.Message) {
	for _, name := range names {
		messages = append(messages, history.Message{Data: name})
	}
	return messages
}

// goodStory is a history in which every promise is kept. Messages a, b, c and d have
// the sequences 1 to 4; b and c are an atomic batch, d has an idempotency key and was
// sent twice. Consumer 0 is in mode auto, consumer 1 in mode lease.
func goodStory() *story {
	s := &story{}
	s.add("create topic", history.Op{Kind: history.OpCreateTopic})
	s.add("register producer", history.Op{Kind: history.OpRegisterProducer, ID: 0})
	s.add("register consumer", history.Op{Kind: history.OpRegisterConsumer, ID: 0, Mode: "auto"})
	s.add("create lease consumer", history.Op{
		Kind: history.OpCreateConsumer, ID: 1, Name: "n", Mode: "lease", Lease: time.Second, Created: true,
	})

	s.add("produce a", history.Op{Kind: history.OpProduce, Data: []string{"a"}})
	s.add("append b c", history.Op{
		Kind: history.OpAppend, Data: []string{"b", "c"}, Atomic: true,
		Receipts: []history.Receipt{{Sequence: 2}, {Sequence: 3}},
	})
	s.add("append d", history.Op{
		Kind: history.OpAppend, Data: []string{"d"}, Key: "d", Receipts: []history.Receipt{{Sequence: 4}},
	})
	s.add("append d again", history.Op{
		Kind: history.OpAppend, Data: []string{"d"}, Key: "d",
		Receipts: []history.Receipt{{Sequence: 4, Duplicate: true}},
	})
	s.add("probe", history.Op{
		Kind: history.OpProbe, Name: "producer_not_found", Data: []string{"x"},
		Outcome: history.Refused, Status: 404, Code: "producer_not_found",
	})

	for _, name := range []string{"a", "b", "c", "d"} {
		s.add("consume "+name, history.Op{Kind: history.OpConsume, ID: 0, Limit: 1, Got: got(name)})
	}
	s.add("consume nothing", history.Op{
		Kind: history.OpConsume, ID: 0, Limit: 1, Outcome: history.Refused, Status: 400, Code: "empty",
	})
	s.add("size of auto", history.Op{Kind: history.OpSize, ID: 0, Size: 0})

	s.add("fetch all", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: []history.Message{
		{Sequence: 1, Data: "a", Token: "a1", Deliveries: 1},
		{Sequence: 2, Data: "b", Token: "b1", Deliveries: 1},
		{Sequence: 3, Data: "c", Token: "c1", Deliveries: 1},
		{Sequence: 4, Data: "d", Token: "d1", Deliveries: 1},
	}})
	s.add("nack a", history.Op{Kind: history.OpNack, ID: 1, Tokens: []string{"a1"}})
	s.add("fetch a again", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: []history.Message{
		{Sequence: 1, Data: "a", Token: "a2", Deliveries: 2},
	}})
	s.add("ack all", history.Op{Kind: history.OpAck, ID: 1, Tokens: []string{"a2", "b1", "c1", "d1"}})
	s.add("size of lease", history.Op{Kind: history.OpSize, ID: 1, Size: 0})
	s.add("fetch nothing", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8})

	s.add("browse", history.Op{Kind: history.OpBrowse, From: 2, Limit: 9, Got: got("b", "c", "d")})
	s.add("get", history.Op{Kind: history.OpGet, From: 2, Got: got("b")})
	s.add("replay", history.Op{Kind: history.OpBrowse, From: 1, Limit: 1000, Final: true, Got: []history.Message{
		{Sequence: 1, Data: "a"}, {Sequence: 2, Data: "b"}, {Sequence: 3, Data: "c"}, {Sequence: 4, Data: "d"},
	}})
	s.add("end of replay", history.Op{Kind: history.OpBrowse, From: 5, Limit: 1000, Final: true})
	s.add("end", history.Op{Kind: history.OpEnd})
	return s
}
