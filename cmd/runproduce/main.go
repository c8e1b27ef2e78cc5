// Command runproduce produces the lines of a log file.
package main

import (
	"os"

	"dq/scenarios/runner"
)

func main() { os.Exit(runner.Main(runner.ProduceCommand(), os.Args[1:])) }
