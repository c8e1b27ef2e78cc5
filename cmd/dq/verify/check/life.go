package check

import (
	"fmt"

	"dq/cmd/dq/verify/history"
)

// lifeState is a topic that is created and deleted again and again.
type lifeState struct {
	exists   bool
	messages int
	contents string // names of the messages, each after a space
}

// checkLife checks that a topic which exists has exactly the messages that were
// appended since it was created, with the sequences from 1, and that one which does
// not exist takes none.
func (h *topicHistory) checkLife() {
	checkMachine(h, checkLife, "the topic", machine[lifeState]{next: nextLifeState},
		history.OpCreateTopic, history.OpEnsureTopic, history.OpDescribeTopic, history.OpDeleteTopic,
		history.OpAppend, history.OpBrowse)
}

func nextLifeState(s lifeState, op *history.Op) []lifeState {
	if op.Code == topicNotFound && op.Kind != history.OpEnsureTopic {
		return onlyIf(!s.exists, s)
	}

	switch op.Kind {
	case history.OpCreateTopic, history.OpEnsureTopic:
		return s.create(op)
	case history.OpDeleteTopic:
		return onlyIf(s.exists || op.Outcome != history.OK, effect(op, s, lifeState{})...)
	case history.OpAppend:
		if !s.exists {
			return onlyIf(op.Outcome != history.OK, s)
		}
		after := lifeState{true, s.messages + 1, s.contents + " " + op.Data[0]}
		return nextAppend(op, uint64(s.messages), s, after)
	case history.OpBrowse:
		return onlyIf(s.exists && s.contents == contentsOf(op.Got), s)
	}
	return onlyIf(s.exists && op.State.Last == uint64(s.messages), s)
}

// create returns the states after a call that creates the topic. A topic may be
// deleted between the two steps of "ensure topic", which creates it and then
// describes it.
func (s lifeState) create(op *history.Op) []lifeState {
	made := lifeState{exists: true}
	switch {
	case op.Outcome == history.OK && (op.Created || op.Kind == history.OpCreateTopic):
		return onlyIf(!s.exists, made)
	case op.Outcome == history.OK, op.Code == "topic_exists":
		return onlyIf(s.exists, s)
	case s.exists:
		return []lifeState{s}
	}
	return []lifeState{s, made}
}

// contentsOf returns the names of messages whose sequences are dense from 1, as
// lifeState has them.
func contentsOf(messages []history.Message) (contents string) {
	for i, m := range messages {
		contents += " " + m.Data
		if m.Sequence != uint64(i+1) {
			contents += fmt.Sprintf("@%d", m.Sequence)
		}
	}
	return contents
}

// checkOldMessages checks that no message which was sent before the topic was deleted
// is in the topic that was created after that.
func (h *topicHistory) checkOldMessages() {
	sent := make(map[string]*history.Op)
	for _, op := range h.ops {
		if op.Kind == history.OpAppend && op.Outcome == history.OK {
			sent[op.Data[0]] = op
		}
	}

	for _, deletion := range h.ops {
		if deletion.Kind != history.OpDeleteTopic || deletion.Outcome != history.OK {
			continue
		}
		for _, read := range h.ops {
			if read.Kind == history.OpBrowse && read.Call > deletion.Return {
				h.checkOldIn(read, deletion, sent)
			}
		}
	}
}

// checkOldIn checks the messages of a read that was called after a deletion.
func (h *topicHistory) checkOldIn(read, deletion *history.Op, sent map[string]*history.Op) {
	h.count(checkLife, 1)
	for _, m := range read.Got {
		if op := sent[m.Data]; op != nil && op.Return < deletion.Call {
			h.violated(checkLife, proof{op, deletion, read}, "%s is from before the topic was deleted", m.Data)
		}
	}
}
