package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by the release build: -ldflags "-X dq/cmd/dq/cli.Version=v1.2.3".
var Version = "devel"

func versionCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of dq and of the engine inside",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, module := range info.Deps {
					if module.Path == "github.com/nats-io/nats-server/v2" {
						engine = module.Version
					}
				}
			}
			platform := runtime.GOOS + "/" + runtime.GOARCH
			return c.output(cmd).line(
				map[string]any{"version": Version, "nats_server": engine, "go": runtime.Version(), "platform": platform},
				fmt.Sprintf("dq %s (nats-server %s, %s, %s)", Version, engine, runtime.Version(), platform),
			)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}
