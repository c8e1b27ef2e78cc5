package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by the release build: -ldflags "-X dq/cmd/cli.Version=v1.2.3".
var Version = "devel"

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of dq and of the engine inside",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			engine := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, module := range info.Deps {
					if module.Path == "github.com/nats-io/nats-server/v2" {
						engine = module.Version
					}
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "dq %s (nats-server %s, %s, %s/%s)\n", Version, engine, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
