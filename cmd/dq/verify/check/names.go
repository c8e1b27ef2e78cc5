package check

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"dq/cmd/dq/verify/history"
)

// searchTime bounds each search for an order. It is long enough unless something
// is wrong.
const searchTime = 3 * time.Second

// nameState is what a name stands for: nothing, or a topic or consumer.
type nameState struct {
	exists  bool
	idKnown bool  // always of a topic; of a consumer once it was answered
	id      int64 // 0 of a topic
}

// checkNames checks with porcupine that the calls that create, describe and delete
// the topic, and each consumer with a name, are linearizable.
func (h *topicHistory) checkNames() {
	byName := make(map[string][]*history.Op)
	for _, op := range h.ops {
		if aboutName(op) {
			byName[op.Name] = append(byName[op.Name], op)
		}
	}

	for name, ops := range byName {
		h.count(checkNames, len(ops))
		if namesPossible(ops) {
			continue
		}
		what := "the topic"
		if name != "" {
			what = "consumer " + name
		}
		h.violated(checkNames, smallest(ops), "what was said of %s has no order in which it is true", what)
	}
}

// aboutName reports whether the outcome of op depends on what a name stands for.
func aboutName(op *history.Op) bool {
	switch op.Kind {
	case history.OpCreateTopic, history.OpEnsureTopic, history.OpDescribeTopic, history.OpDeleteTopic,
		history.OpRegisterProducer, history.OpDescribeConsumer:
	case history.OpCreateConsumer:
		if op.Name == "" {
			return false
		}
	default:
		return false
	}
	return op.Outcome != history.Refused || !op.TurnedAway()
}

var namesModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{nameState{}} },
	Step: func(state, input, _ any) (next []any) {
		for _, s := range nextStates(state.(nameState), input.(*history.Op)) {
			next = append(next, s)
		}
		return next
	},
}).ToModel()

// namesPossible reports whether the operations on one name have an order that
// explains their outcomes.
func namesPossible(ops []*history.Op) bool {
	operations := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		operations[i] = porcupine.Operation{Input: op, Call: op.Call, Return: op.Return}
		if op.Outcome == history.Unknown {
			operations[i].Return = history.Never
		}
	}
	return porcupine.CheckOperationsTimeout(namesModel, operations, searchTime) != porcupine.Illegal
}

// smallest leaves out of ops what is not needed to show that they have no order, as far
// as it gets in a while.
func smallest(ops []*history.Op) []*history.Op {
	begin := time.Now()
	for i := 0; i < len(ops) && time.Since(begin) < 2*searchTime; {
		rest := slices.Delete(slices.Clone(ops), i, i+1)
		if namesPossible(rest) {
			i++
		} else {
			ops = rest
		}
	}
	return ops
}

// nextStates returns the states that a name may have after op, none if op cannot
// have had its outcome in this state.
func nextStates(s nameState, op *history.Op) []nameState {
	switch op.Kind {
	case history.OpDeleteTopic:
		return afterDelete(s, op)
	case history.OpDescribeTopic, history.OpDescribeConsumer:
		return afterDescribe(s, op)
	}
	return afterCreate(s, op)
}

func afterDelete(s nameState, op *history.Op) []nameState {
	switch op.Outcome {
	case history.OK:
		return onlyIf(s.exists, nameState{})
	case history.Refused:
		return onlyIf(!s.exists, s)
	}
	return []nameState{s, {}}
}

func afterDescribe(s nameState, op *history.Op) []nameState {
	switch op.Outcome {
	case history.OK:
		return onlyIf(s.mayHave(op.ID), nameState{exists: true, idKnown: true, id: op.ID})
	case history.Refused:
		return onlyIf(!s.exists, s)
	}
	return []nameState{s}
}

// afterCreate is for all calls that create something. Those but "create topic"
// succeed if it exists already; registering a producer creates its topic.
func afterCreate(s nameState, op *history.Op) []nameState {
	made := nameState{exists: true, idKnown: true}
	if op.Kind == history.OpCreateConsumer {
		made.id = op.ID
	}

	switch {
	case op.Outcome == history.OK && op.Kind == history.OpRegisterProducer:
		return []nameState{made}
	case op.Outcome == history.OK && (op.Created || op.Kind == history.OpCreateTopic):
		return onlyIf(!s.exists, made)
	case op.Outcome == history.OK:
		return onlyIf(s.mayHave(made.id), made)
	case op.Outcome == history.Refused && op.Kind == history.OpCreateTopic:
		return onlyIf(s.exists, s)
	}

	// It was not answered, or refused as the comment at allowed says.
	if s.exists {
		return []nameState{s}
	}
	made.idKnown = op.Kind != history.OpCreateConsumer
	made.id = 0
	return []nameState{s, made}
}

// onlyIf returns the states if the condition holds, and none otherwise.
func onlyIf[S any](condition bool, states ...S) []S {
	if !condition {
		return nil
	}
	return states
}

// mayHave reports whether the name may stand for what has that id.
func (s nameState) mayHave(id int64) bool { return s.exists && (!s.idKnown || s.id == id) }
