// Command dq runs a broker, and has the commands to use one.
package main

import (
	"os"

	"dq/cmd/dq/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
