package cli

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"dq/jetstream/engine"
)

func dataCommand(c *client) *cobra.Command {
	data := &cobra.Command{Use: "data", Short: "Examine the data directory of a broker that does not run"}
	check := &cobra.Command{
		Use:   "check DIR",
		Short: "Check all files of a data directory",
		Long: "Check all files of a data directory that no broker uses: whether this dq can open it, which files\n" +
			"are damaged, and which messages are lost. It changes nothing. A start checks less: what was\n" +
			"written since the last time that the broker stopped normally.\n\n" +
			"Exit status: 0 if all is sound, 1 if something is damaged or this dq cannot open the directory.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.checkData(cmd, args[0]) },
	}
	c.addJSONFlag(data)
	data.AddCommand(check)
	return data
}

func (c *client) checkData(cmd *cobra.Command, dir string) error {
	bar := progressbar.DefaultBytesSilent(engine.BlockBytes(dir), "checking")
	if stderr, ok := cmd.ErrOrStderr().(*os.File); ok && isTerminal(stderr) {
		bar = progressbar.DefaultBytes(engine.BlockBytes(dir), "checking")
	}
	found, err := engine.CheckDir(dir, func(bytes int) { _ = bar.Add(bytes) })
	_ = bar.Finish()
	if err != nil {
		return err
	}

	records, damaged := 0, 0
	for i := range found.Streams {
		stream := &found.Streams[i]
		records += stream.Records
		if len(stream.Damage) > 0 {
			damaged++
		}
		if err := c.printCheck(cmd, stream); err != nil {
			return err
		}
	}

	cmd.PrintErrf("format version %d, %d streams, %d records, %d streams are damaged\n",
		found.Format, len(found.Streams), records, damaged)
	if damaged > 0 {
		return fmt.Errorf("%d of %d streams in %s are damaged", damaged, len(found.Streams), dir)
	}
	return nil
}

// printCheck prints what was found in a stream: in JSON all of it, for people what is wrong.
func (c *client) printCheck(cmd *cobra.Command, stream *engine.StreamCheck) error {
	if c.json {
		return c.output(cmd).object(stream)
	}

	if stream.Skipped != "" {
		cmd.Printf("%s: not checked: %s\n", stream.Stream, stream.Skipped)
	}
	for _, kind := range []struct {
		name  string
		files []engine.FileDamage
	}{
		{"damaged", stream.Damage},
		{"cut off by the end of the last run", stream.Torn},
		{"to be repaired, nothing is lost", stream.Mended},
	} {
		for _, file := range kind.files {
			cmd.Printf("%s: %s: %s\n", stream.Stream, kind.name, file)
		}
	}
	return nil
}
