// Package history is the record of a verification: every call that the traffic
// made, with its times and its outcome. Package traffic writes it, package check
// reads it, and a `--history` file holds it as one line of JSON per operation.
//
//   - op.go: what is recorded of a call?
//   - payload.go: which text does a message carry?
//   - recorder.go: who collects the operations of a run, and counts them?
//   - text.go: how is an operation shown to people?
package history
