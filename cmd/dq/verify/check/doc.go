// Package check checks the history of a run against the promises of
// PROMISES.md. It makes no calls: the same history gives the same findings.
//
// [Topic] checks the complete history of one topic, and [IDs] the ids that a run
// was given, of all topics together.
//
// Calls overlap, so a check knows only intervals: an operation took effect at some
// moment between its call and its return, one of unknown outcome at any time after
// its call or never. A check reports a violation when no choice of moments explains
// what was answered.
//
//   - findings.go: which checks exist, and what is a violation?
//   - topic.go: what is known of a topic: its log, its consumers, their deliveries?
//   - log.go: does the topic hold what was sent: lost, phantom, order, atomic?
//   - receipts.go: are receipts and idempotency keys right?
//   - deliveries.go: did each consumer get everything, once and in order?
//   - lease.go: did one worker at a time have each message, and are acks final?
//   - size.go: are the sizes of consumers right?
//   - read.go: does reading by sequence show the same?
//   - delayed.go: do delayed messages appear at their time or later?
//   - machine.go: how is a history checked with a small model?
//   - life.go, purge.go, expected.go, settings.go: the models of topics that are created
//     again, purged, appended to on a condition, and changed
//   - ttl.go: are messages with a TTL there until then, and not much longer?
//   - seek.go: does a consumer continue where it was moved to?
//   - pause.go: does a consumer get nothing while it is paused, and everything after?
//   - deadletter.go: are dead letters what was delivered too often, and nothing else?
//   - keys.go: do clients that ask for a key get its messages, and no others?
//   - dropped.go: are messages counted that were removed before a consumer had read them?
//   - sightings.go: does each sequence keep its message where messages are removed?
//   - names.go: are topics and named consumers created and deleted one at a time?
//   - ids.go: are ids unique and without gaps?
//   - answers.go: is each refusal one that the call has?
package check
