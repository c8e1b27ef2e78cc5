package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"dq/jetstream/engine"
)

// Version is set by the release build: -ldflags "-X dq/cmd/dq/cli.Version=v1.2.3".
var Version = "devel"

func versionCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of dq and of the engine inside",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			return c.output(cmd).line(
				map[string]any{"version": Version, "nats_server": engine.Version(), "go": runtime.Version(), "platform": platform},
				fmt.Sprintf("dq %s (nats-server %s, %s, %s)", Version, engine.Version(), runtime.Version(), platform),
			)
		},
	}
	c.jsonFlag(cmd)
	return cmd
}
