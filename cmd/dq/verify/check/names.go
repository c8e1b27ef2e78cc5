package check

import (
	"github.com/anishathalye/porcupine"

	"dq/cmd/dq/verify/history"
)

// The states of a name: nothing has it, something has it whose id is not known,
// or what has that id. Topics have the id 0.
const (
	nothing   = int64(-1)
	something = int64(-2)
)

// checkNames asks porcupine whether the making, asking for and deleting of the
// topic, and of each consumer with a name, are linearizable.
func (h *topicHistory) checkNames() {
	byName := make(map[string][]porcupine.Operation)
	calls := make(map[string][]*history.Op)
	for _, op := range h.ops {
		switch op.Kind {
		case history.OpCreateTopic, history.OpEnsureTopic, history.OpDescribeTopic, history.OpDeleteTopic, history.OpRegisterProducer, history.OpCreateConsumer, history.OpDescribeConsumer:
		default:
			continue
		}
		if op.Kind == history.OpCreateConsumer && op.Name == "" || op.Outcome == history.Refused && history.TurnedAway(op) {
			continue
		}
		ret := op.Return
		if op.Outcome == history.Unknown {
			ret = history.Never
		}
		byName[op.Name] = append(byName[op.Name], porcupine.Operation{Input: op, Call: op.Call, Return: ret})
		calls[op.Name] = append(calls[op.Name], op)
	}
	model := (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{nothing} },
		Step: func(state, input, _ any) []any { return nextState(state.(int64), input.(*history.Op)) },
	}).ToModel()
	for name, ops := range byName {
		h.count(checkNames, len(ops))
		if porcupine.CheckOperationsTimeout(model, ops, porcupineTime) != porcupine.Illegal {
			continue
		}
		what := "the topic"
		if name != "" {
			what = "consumer " + name
		}
		h.violated(checkNames, smallest(model, calls[name]), "what was said of %s has no order in which it is true", what)
	}
}

// smallest leaves out of ops what is not needed to show that they have no order.
func smallest(model porcupine.Model, ops []*history.Op) []*history.Op {
	for i := 0; i < len(ops); {
		rest := append(append([]*history.Op(nil), ops[:i]...), ops[i+1:]...)
		operations := make([]porcupine.Operation, len(rest))
		for j, op := range rest {
			operations[j] = porcupine.Operation{Input: op, Call: op.Call, Return: op.Return}
			if op.Outcome == history.Unknown {
				operations[j].Return = history.Never
			}
		}
		if porcupine.CheckOperationsTimeout(model, operations, porcupineTime) == porcupine.Illegal {
			ops = rest
		} else {
			i++
		}
	}
	return ops
}

// nextState is the states that a name may have after op, none if op cannot have
// been answered as it was.
func nextState(state int64, op *history.Op) []any {
	states := func(may bool, next ...int64) (all []any) {
		for _, s := range next {
			if may {
				all = append(all, s)
			}
		}
		return all
	}
	there := state == op.ID || state == something
	switch op.Kind {
	case history.OpDeleteTopic:
		switch op.Outcome {
		case history.OK:
			return states(state != nothing, nothing)
		case history.Refused:
			return states(state == nothing, state)
		}
		return states(true, state, nothing)
	case history.OpDescribeTopic, history.OpDescribeConsumer:
		switch op.Outcome {
		case history.OK:
			return states(there, op.ID)
		case history.Refused:
			return states(state == nothing, state)
		}
		return states(true, state)
	case history.OpRegisterProducer: // makes the topic if it is not there
		if op.Outcome == history.OK {
			return states(true, 0)
		}
	}
	made := op.Made || op.Kind == history.OpCreateTopic
	switch {
	case op.Outcome == history.OK && made:
		return states(state == nothing, idOf(op))
	case op.Outcome == history.OK:
		return states(there, idOf(op))
	case op.Kind == history.OpCreateTopic && op.Outcome == history.Refused:
		return states(state != nothing, state)
	case state != nothing: // not answered, or as in the comment at allowed
		return states(true, state)
	case op.Kind == history.OpCreateConsumer:
		return states(true, state, something)
	}
	return states(true, state, 0)
}

// idOf is the id of what op made: 0 for a topic.
func idOf(op *history.Op) int64 {
	if op.Kind == history.OpCreateConsumer {
		return op.ID
	}
	return 0
}
