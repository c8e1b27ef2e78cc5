// Package scenarios is the scenarios that the broker is tried with: plans of
// producers and consumers, a generator of the producers' log files, a driver
// that runs a plan against a broker, and a checker that compares what each
// consumer wrote with what was produced. The shell scripts beside it do the
// same with the log runners as processes of their own.
package scenarios
