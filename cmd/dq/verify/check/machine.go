package check

import (
	"cmp"
	"slices"
	"sort"

	"github.com/anishathalye/porcupine"

	"dq/cmd/dq/verify/history"
)

// machine is a small model of something that calls read and change. Its calls must be
// linearizable: each took effect at one moment between its call and its return.
type machine[S comparable] struct {
	start S

	// next returns the states in which op may leave state s, none if op cannot have
	// had its outcome in s.
	next func(s S, op *history.Op) []S
}

// explains reports whether the operations have an order that explains all outcomes.
// If the search takes too long it reports true.
func (m machine[S]) explains(ops []*history.Op) bool {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{m.start} },
		Step: func(state, input, _ any) (next []any) {
			for _, s := range m.next(state.(S), input.(*history.Op)) {
				next = append(next, s)
			}
			return next
		},
	}

	operations := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		operations[i] = porcupine.Operation{Input: op, Call: op.Call, Return: op.Return}
		if op.Outcome == history.Unknown {
			operations[i].Return = history.Never
		}
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), operations, searchTime) != porcupine.Illegal
}

// firstImpossible returns the first answer that no order explains, and the answers
// shortly before it; nil if there is an order.
func (m machine[S]) firstImpossible(ops []*history.Op) proof {
	ops = slices.DeleteFunc(slices.Clone(ops), hasNoEffect)
	if m.explains(ops) {
		return nil
	}

	answers := slices.DeleteFunc(slices.Clone(ops), func(op *history.Op) bool { return op.Outcome == history.Unknown })
	slices.SortFunc(answers, func(a, b *history.Op) int { return cmp.Compare(a.Return, b.Return) })
	n := sort.Search(len(answers)-1, func(i int) bool { return !m.explains(until(ops, answers[i].Return)) })
	return slices.Clone(answers[max(0, n+1-shownBefore) : n+1])
}

// shownBefore is how many answers are shown, up to the one that has no explanation.
const shownBefore = 6

// hasNoEffect reports whether op says nothing about what it called: it was turned
// away, or read something and was not answered.
func hasNoEffect(op *history.Op) bool {
	if op.Outcome != history.Unknown {
		return op.Outcome == history.Refused && op.TurnedAway()
	}
	switch op.Kind {
	case history.OpBrowse, history.OpGet, history.OpDescribeTopic, history.OpDescribeConsumer, history.OpSize:
		return true
	}
	return false
}

// until returns what was known at a time: the operations that were called by then. The
// outcome of those that had not returned was unknown.
func until(ops []*history.Op, time int64) (known []*history.Op) {
	for _, op := range ops {
		switch {
		case op.Call > time:
		case op.Return <= time:
			known = append(known, op)
		default:
			begun := *op
			begun.Outcome = history.Unknown
			if !hasNoEffect(&begun) {
				known = append(known, &begun)
			}
		}
	}
	return known
}

// checkMachine checks the operations of these kinds with a machine. What says what
// they are about.
func checkMachine[S comparable](h *topicHistory, check, what string, m machine[S], kinds ...string) {
	var ops []*history.Op
	for _, op := range h.ops {
		if slices.Contains(kinds, op.Kind) {
			ops = append(ops, op)
		}
	}

	h.count(check, len(ops))
	if shown := m.firstImpossible(ops); shown != nil {
		last := shown[len(shown)-1]
		h.violated(check, shown, "nothing explains the last of these answers about %s, a %s", what, last.Kind)
	}
}
