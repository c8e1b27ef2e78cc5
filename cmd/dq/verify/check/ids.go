package check

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"

	"dq/cmd/dq/verify/history"
)

// IDs collects the registrations of a run, of all topics together, and checks the
// ids that they got. Its zero value is ready to use.
type IDs struct {
	Shared bool // others register at the same time, so the run may miss ids

	producers []*history.Op
	consumers []*history.Op
}

// Add adds the registrations in the history of a topic.
func (x *IDs) Add(ops []*history.Op) {
	for _, op := range ops {
		if op.Outcome == history.Refused {
			continue
		}
		switch op.Kind {
		case history.OpRegisterProducer:
			x.producers = append(x.producers, op)
		case history.OpRegisterConsumer, history.OpCreateConsumer:
			x.consumers = append(x.consumers, op)
		}
	}
}

// Check checks the ids of all registrations that were added.
func (x *IDs) Check() *Findings {
	c := &idCheck{Findings: NewFindings(), shared: x.Shared}
	c.check("producer", x.producers)
	c.check("consumer", x.consumers)
	return c.Findings
}

// idCheck checks the ids of producers or of consumers.
type idCheck struct {
	*Findings
	shared bool
}

func (c *idCheck) check(kind string, ops []*history.Op) {
	given, spent := sortIDs(ops)
	for i := 1; i < len(given); i++ {
		if a, b := given[i-1].op, given[i].op; a.ID == b.ID {
			text := fmt.Sprintf("%s id %d was given twice", kind, b.ID)
			c.add(Violation{Check: checkIDs, Topic: b.Topic, Text: text, Ops: proof{a, b}})
		}
	}
	c.count(checkIDs, len(given))

	given = slices.CompactFunc(given, func(a, b event) bool { return a.op.ID == b.op.ID })
	if !c.shared {
		given = c.explainGaps(kind, given, spent)
	}

	c.count(checkRegistry, len(given))
	a, b, swapped := findSwapped(given)
	if !swapped && countedUp(given, c.shared) {
		return
	}
	var pair proof
	if swapped {
		pair = proof{a.op, b.op}
	}
	text := fmt.Sprintf("the %s ids are not those of a counter that counts one registration after the other", kind)
	c.add(Violation{Check: checkRegistry, Text: text, Ops: pair})
}

// sortIDs returns the registrations that gave an id, by id, and by their calls those
// that may have used one up: of unknown outcome, or that lost a race for a name.
func sortIDs(ops []*history.Op) (given []event, spent []*history.Op) {
	for _, op := range ops {
		if op.Outcome == history.Unknown || op.Name != "" && !op.Created {
			spent = append(spent, op)
			continue
		}
		given = append(given, event{op: op, call: op.Call, ret: op.Return})
	}
	given = append(given, namedLater(ops, given)...)

	slices.SortFunc(given, func(a, b event) int { return cmp.Compare(a.op.ID, b.op.ID) })
	slices.SortFunc(spent, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	return given, spent
}

// namedLater returns the ids of consumers whose creation was not answered, and that
// later calls for their name got.
func namedLater(ops []*history.Op, given []event) (later []event) {
	known := make(map[int64]bool)
	for _, e := range given {
		known[e.op.ID] = true
	}
	firstCall := make(map[string]int64) // by topic and name
	for _, op := range ops {
		name := op.Topic + " " + op.Name
		if call, found := firstCall[name]; !found || op.Call < call {
			firstCall[name] = op.Call
		}
	}

	for _, op := range ops {
		if op.Outcome == history.OK && !known[op.ID] {
			known[op.ID] = true
			later = append(later, event{op: op, call: firstCall[op.Topic+" "+op.Name], ret: op.Return})
		}
	}
	return later
}

// explainGaps assigns each id that nobody got to a registration that may have used
// it up, and returns all ids. The id was used up before any registration returned
// that gave a higher one. So if the gaps have any explanation, they also have the
// one that assigns each to the registration that was called first.
func (c *idCheck) explainGaps(kind string, given []event, spent []*history.Op) []event {
	deadline := make([]int64, len(given)) // earliest return of this and all higher ids
	for i := len(given) - 1; i >= 0; i-- {
		deadline[i] = given[i].ret
		if i+1 < len(given) {
			deadline[i] = min(deadline[i], deadline[i+1])
		}
	}

	var all []event
	for i, e := range given {
		for id := given[max(i-1, 0)].op.ID + 1; id < e.op.ID; id++ {
			if len(spent) == 0 || spent[0].Call > deadline[i] {
				text := "%s id %d was skipped (if others use this deployment, say so with --shared)"
				c.add(Violation{
					Check: checkIDs, Topic: e.op.Topic,
					Text: fmt.Sprintf(text, kind, id), Ops: proof{given[i-1].op, e.op},
				})
				continue
			}
			assigned := *spent[0]
			assigned.ID, spent = id, spent[1:]
			all = append(all, event{op: &assigned, call: assigned.Call, ret: history.Never})
		}
		all = append(all, e)
	}
	return all
}

// counter is the last id that was given. Where it begins is not known.
type counter struct {
	begun bool
	last  int64
}

// countedUp reports whether porcupine finds an order of the registrations in which
// each id is the next, or with gaps a higher one. The list is by id. It is checked
// a thousand ids at a time; findSwapped finds what is wrong between two parts.
func countedUp(given []event, gaps bool) bool {
	model := porcupine.Model{
		Init: func() any { return counter{} },
		Step: func(state, input, _ any) (bool, any) {
			c, id := state.(counter), input.(int64)
			possible := !c.begun || id == c.last+1 || gaps && id > c.last
			return possible, counter{begun: true, last: id}
		},
	}

	for part := range slices.Chunk(given, 1000) {
		ops := make([]porcupine.Operation, len(part))
		for i, e := range part {
			ops[i] = porcupine.Operation{ClientId: i, Input: e.op.ID, Call: e.call, Return: e.ret}
		}
		if porcupine.CheckOperationsTimeout(model, ops, searchTime) == porcupine.Illegal {
			return false
		}
	}
	return true
}
