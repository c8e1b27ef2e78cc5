// Package verify checks a deployment of dq against its promises, which PROMISES.md
// beside this file lists. [Run] drives traffic, records each call with its times and
// its outcome, and checks the record. [RunSelf] does so with brokers of its own, and
// breaks them while it does. [Replay] checks a record again.
//
// Traffic comes in rounds. Each round has topics of its own, which are checked and
// deleted at its end, so that memory does not grow with the length of a run, except
// by about 200 bytes for each id that was given out.
//
//   - run.go: how does a run begin, go on and end?
//   - replay.go: how is a recorded history checked again?
//   - result.go: what did a run find?
//   - report.go: how is that shown to people?
//
// Below it: [dq/cmd/dq/verify/traffic] makes the calls, [dq/cmd/dq/verify/history]
// holds them, [dq/cmd/dq/verify/check] checks them, and [dq/cmd/dq/verify/fault]
// breaks brokers.
package verify
