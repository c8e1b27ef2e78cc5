package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"dq/jetstream/engine"
)

// Version is the version of dq. The release build sets it: -ldflags "-X dq/cmd/dq/cli.Version=v1.2.3".
var Version = "devel"

func versionCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of dq and of its engine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, platform := engine.Version(), runtime.GOOS+"/"+runtime.GOARCH
			return c.output(cmd).line(
				map[string]any{
					"version": Version, "nats_server": server, "go": runtime.Version(), "platform": platform,
				},
				fmt.Sprintf("dq %s (nats-server %s, %s, %s)", Version, server, runtime.Version(), platform),
			)
		},
	}
	c.addJSONFlag(cmd)
	return cmd
}
