// Package runner implements the log runners: one produces the lines of a log file, the
// other consumes topics into a log file. It also has the commands runproduce and
// runconsume that run them. The formats of the files are those of the old runners. The
// package talks to a broker only through the sdk.
package runner
