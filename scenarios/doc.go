// Package scenarios holds the scenarios that test a broker: plans of producers and
// consumers, a generator of the producers' log files, a [Run] that carries out a plan
// against a broker, and [Check], which compares what each consumer wrote with what was
// produced. The shell scripts in this folder do the same with the log runners as
// separate processes.
package scenarios
