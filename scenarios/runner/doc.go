// Package runner is the log runners: one that produces the lines of a log file
// and one that consumes topics into a log file, and the two commands that run
// them. The files' formats are those of the old runners. It talks to a broker
// only through the sdk.
package runner
