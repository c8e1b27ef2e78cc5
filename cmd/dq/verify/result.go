package verify

import (
	"time"

	"dq/cmd/dq/verify/check"
)

// Result is what a run found.
type Result struct {
	Operations int64                       `json:"operations"`
	Elapsed    time.Duration               `json:"elapsed_ns"`
	Rounds     int                         `json:"rounds"`
	Counts     map[string]map[string]int64 `json:"counts"`   // operations by kind and outcome
	Failures   map[string]int64            `json:"failures"` // calls that failed or had no answer, by status and code
	Faults     map[string]int64            `json:"faults"`   // by name
	Checked    map[string]int64            `json:"checked"`  // how many things each check has looked at
	Violations []check.Violation           `json:"violations"`
}

// OK reports whether all promises were kept.
func (r *Result) OK() bool { return len(r.Violations) == 0 }

// result returns what the run has found so far.
func (r *run) result() *Result {
	totals := r.rec.Totals()
	return &Result{
		Operations: totals.Operations,
		Elapsed:    time.Duration(r.rec.Now()),
		Rounds:     int(r.rounds.Load()),
		Counts:     totals.Outcomes,
		Failures:   totals.Failures,
		Faults:     totals.Faults,
		Checked:    r.found.Checked,
		Violations: r.found.Violations,
	}
}
