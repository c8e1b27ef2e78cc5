// Command runconsume consumes topics into a log file.
package main

import (
	"os"

	"dq/scenarios/runner"
)

func main() { os.Exit(runner.Main(runner.ConsumeCommand(), os.Args[1:])) }
