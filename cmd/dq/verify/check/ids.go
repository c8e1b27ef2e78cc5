package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"dq/cmd/dq/verify/history"
)

// ids are the registrations of a run, of all topics together.
type Ids struct {
	Shared bool // others register, too: ids may be skipped
	ops    map[string][]*history.Op
}

// producerIDs and consumerIDs are the two sequences of ids.
const (
	producerIDs = "producer"
	consumerIDs = "consumer"
)

// add takes the registrations out of the history of a topic.
func (x *Ids) Add(ops []*history.Op) {
	if x.ops == nil {
		x.ops = make(map[string][]*history.Op)
	}
	for _, op := range ops {
		switch {
		case op.Outcome == history.Refused:
		case op.Kind == history.OpRegisterProducer:
			x.ops[producerIDs] = append(x.ops[producerIDs], op)
		case op.Kind == history.OpRegisterConsumer || op.Kind == history.OpCreateConsumer:
			x.ops[consumerIDs] = append(x.ops[consumerIDs], op)
		}
	}
}

// check checks the ids that were given out.
func (x *Ids) Check() *Findings {
	f := NewFindings()
	for kind, ops := range x.ops {
		given, spent := sortIDs(ops)
		for i := 1; i < len(given); i++ {
			if a, b := given[i-1].op, given[i].op; a.ID == b.ID {
				f.fail(checkIDs, b.Topic, []*history.Op{a, b}, "%s id %d was given twice", kind, b.ID)
			}
		}
		f.count(checkIDs, len(given))
		given = slices.CompactFunc(given, func(a, b take) bool { return a.op.ID == b.op.ID })
		if !x.Shared {
			given = skippedIDs(f, kind, given, spent)
		}
		f.count(checkRegistry, len(given))
		if !linearizable(given, x.Shared) {
			ops := []*history.Op(nil)
			if a, b := swapped(given); a != nil {
				ops = []*history.Op{a.op, b.op}
			}
			f.fail(checkRegistry, "", ops, "the %s ids are not those of a counter that counts one registration after the other", kind)
		}
	}
	return f
}

// sortIDs returns the registrations that gave an id, by id, and those that may
// have spent one: of unknown outcome or, as a race for a name may do, without
// need.
func sortIDs(ops []*history.Op) (given []take, spent []*history.Op) {
	for _, op := range ops {
		switch {
		case op.Outcome == history.Unknown:
			spent = append(spent, op)
		case op.Name != "" && !op.Made:
			spent = append(spent, op)
		default:
			given = append(given, take{op: op, call: op.Call, ret: op.Return})
		}
	}
	given = append(given, namedLater(ops, given)...)
	slices.SortFunc(given, func(a, b take) int { return cmp.Compare(a.op.ID, b.op.ID) })
	slices.SortFunc(spent, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	return given, spent
}

// namedLater are the ids of consumers whose making was not answered, and that
// were given to those who asked for the name later.
func namedLater(ops []*history.Op, given []take) (more []take) {
	known := make(map[int64]bool)
	for _, t := range given {
		known[t.op.ID] = true
	}
	first := make(map[string]int64) // call for each name
	for _, op := range ops {
		if call, there := first[op.Topic+" "+op.Name]; !there || op.Call < call {
			first[op.Topic+" "+op.Name] = op.Call
		}
	}
	for _, op := range ops {
		if op.Outcome == history.OK && !known[op.ID] {
			known[op.ID] = true
			more = append(more, take{op: op, call: first[op.Topic+" "+op.Name], ret: op.Return})
		}
	}
	return more
}

// skippedIDs gives each id that nobody got to a registration that may have spent
// it, and returns all. The id was spent before any registration ended that gave
// a higher one, so by giving it to the one that was called first an explanation
// is found if there is one.
func skippedIDs(f *Findings, kind string, given []take, spent []*history.Op) []take {
	deadline := make([]int64, len(given)+1)
	deadline[len(given)] = history.Never
	for i := len(given) - 1; i >= 0; i-- {
		deadline[i] = min(deadline[i+1], given[i].ret)
	}
	var all []take
	for i, t := range given {
		for id := given[max(i-1, 0)].op.ID + 1; id < t.op.ID; id++ {
			if len(spent) == 0 || spent[0].Call > deadline[i] {
				f.fail(checkIDs, t.op.Topic, []*history.Op{given[i-1].op, t.op}, "%s id %d was skipped (do others use this deployment? then say so with --shared)", kind, id)
				continue
			}
			explained := *spent[0]
			explained.ID, spent = id, spent[1:]
			all = append(all, take{op: &explained, call: explained.Call, ret: history.Never})
		}
		all = append(all, t)
	}
	return all
}

// linearizable asks porcupine whether registrations are those of a counter. They
// come by id, and are checked a thousand ids at a time: what belongs to the
// seams, the check of the order over all tells.
func linearizable(given []take, skips bool) bool {
	model := porcupine.Model{
		Init: func() any { return int64(-1) },
		Step: func(state, input, _ any) (bool, any) {
			last, id := state.(int64), input.(int64)
			return last == -1 || id == last+1 || skips && id > last, id
		},
	}
	for part := range slices.Chunk(given, 1000) {
		ops := make([]porcupine.Operation, len(part))
		for i, t := range part {
			ops[i] = porcupine.Operation{ClientId: i, Input: t.op.ID, Call: t.call, Return: t.ret}
		}
		if porcupine.CheckOperationsTimeout(model, ops, porcupineTime) == porcupine.Illegal {
			return false
		}
	}
	a, _ := swapped(given)
	return a == nil
}

// porcupineTime bounds each search. It is not reached unless something is wrong.
const porcupineTime = 10 * time.Second
