// Command dq is the broker and the commands to use it.
package main

import (
	"os"

	"dq/cmd/dq/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
