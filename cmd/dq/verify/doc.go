// Package verify checks a deployment of dq against its promises, which are in
// PROMISES.md beside this file. [Run] drives real traffic, records each call
// with its times and outcome, and checks the record: what was lost, repeated,
// reordered or made up, ids, sizes, leases, stale reads. With a broker of its
// own it breaks that one meanwhile. [Replay] checks a record again.
//
// It speaks HTTP by itself rather than with the sdk: a call is one request, and
// what became of it is written down as it was.
//
// Traffic comes in rounds. A round has topics of its own, which are drained,
// checked and forgotten at its end, so that memory does not grow with the
// length of a run, but for about 200 bytes for each id that was given out.
package verify
