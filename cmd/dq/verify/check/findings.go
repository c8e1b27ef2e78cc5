package check

import (
	"cmp"
	"fmt"
	"slices"

	"dq/cmd/dq/verify/history"
)

// The checks, and the promise that each of them checks.
const (
	checkLost       = "lost"       // what was answered with success is stored, and every consumer gets it
	checkDuplicate  = "duplicate"  // nothing is stored twice, or delivered twice in mode auto
	checkPhantom    = "phantom"    // nothing is stored or delivered that was not sent, was refused, or is too old
	checkOrder      = "order"      // all see one order, that of the calls where they did not overlap
	checkStale      = "stale"      // what was answered with success is visible at once, for every client
	checkSize       = "size"       // sizes are exact
	checkReplay     = "replay"     // reading by sequence shows what consumers got
	checkAtomic     = "atomic"     // an atomic batch is stored as a whole or not at all
	checkIdempotent = "idempotent" // a message with a key is stored once, however often it is sent
	checkLease      = "lease"      // one worker at a time has a message, and delivery counts rise
	checkAck        = "ack"        // what was acknowledged is not delivered again
	checkIDs        = "ids"        // ids are unique, are not used again, and have no gaps
	checkRegistry   = "registry"   // registrations are linearizable
	checkNames      = "names"      // creating and deleting topics and named consumers is linearizable
	checkLife       = "life"       // a topic has what was appended since it was created, and nothing else
	checkPurge      = "purge"      // a purge removes what it is to remove, at once, and nothing else
	checkExpected   = "expected"   // an expected last sequence decides whether a message is stored
	checkSettings   = "settings"   // changed settings are in force at once
	checkDelayed    = "delayed"    // a delayed message appears at its time or later
	checkTTL        = "ttl"        // a message with a TTL is there until then, and gone soon after
	checkSeek       = "seek"       // a consumer continues at the message that it was moved to
	checkPause      = "pause"      // a consumer that is paused gets nothing, one that is resumed all
	checkDeadLetter = "deadletter" // what was delivered too often is a dead letter, once, and nothing else is
	checkKey        = "key"        // a client that asks for a key gets the messages with that key
	checkDropped    = "dropped"    // what was removed before a consumer had read it is counted
	checkAnswers    = "answers"    // refusals are those of the call; failures are 503, or 500 in the classic API
	checkProgress   = "progress"   // when the faults are over, everything gets done
)

// All lists the names of all checks.
var All = []string{
	checkLost, checkDuplicate, checkPhantom, checkOrder, checkStale, checkSize, checkReplay, checkAtomic,
	checkIdempotent, checkLease, checkAck, checkIDs, checkRegistry, checkNames, checkLife,
	checkPurge, checkExpected, checkSettings, checkDelayed, checkTTL,
	checkSeek, checkPause, checkDeadLetter, checkKey, checkDropped, checkAnswers, checkProgress,
}

// Violation is a promise that was not kept.
type Violation struct {
	Check string        `json:"check"`
	Topic string        `json:"topic,omitempty"`
	Text  string        `json:"text"`
	Ops   []*history.Op `json:"history"` // the few operations that show it, by the time of their calls
}

// Findings are the results of checks.
type Findings struct {
	Checked    map[string]int64 // how many things each check has looked at
	Violations []Violation
}

// NewFindings returns findings without any violation.
func NewFindings() *Findings { return &Findings{Checked: make(map[string]int64)} }

// Merge adds other findings to f.
func (f *Findings) Merge(other *Findings) {
	for check, n := range other.Checked {
		f.Checked[check] += n
	}
	f.Violations = append(f.Violations, other.Violations...)
}

func (f *Findings) count(check string, n int) { f.Checked[check] += int64(n) }

// add adds a violation. Its operations may contain nil and repetitions.
func (f *Findings) add(v Violation) {
	v.Ops = slices.DeleteFunc(slices.Clone(v.Ops), func(op *history.Op) bool { return op == nil })
	slices.SortStableFunc(v.Ops, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	v.Ops = slices.Compact(v.Ops)
	f.Violations = append(f.Violations, v)
}

// proof lists the operations that show a violation; nil stands for none.
type proof []*history.Op

// violated adds a violation in the topic of h.
func (h *topicHistory) violated(check string, ops proof, format string, args ...any) {
	h.add(Violation{Check: check, Topic: h.topic, Text: fmt.Sprintf(format, args...), Ops: ops})
}
