package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dq/scenarios/runner"
)

// progress shows how many messages are stored. It shows that while they are produced only on a terminal, and not while
// somebody types the messages there.
type progress struct {
	cmd     *cobra.Command
	topic   string
	display *runner.Display // nil: only the result is shown
}

func newProgress(cmd *cobra.Command, topic string) *progress {
	p := &progress{cmd: cmd, topic: topic}
	stderr, ok := cmd.ErrOrStderr().(*os.File)
	if ok && term.IsTerminal(int(stderr.Fd())) && !term.IsTerminal(int(os.Stdin.Fd())) {
		p.display = runner.NewDisplay(stderr, topic, "messages")
		p.update(0)
	}
	return p
}

func (p *progress) update(stored int) {
	if p.display != nil {
		p.display.Count(stored)
	}
}

func (p *progress) finish(stored int) {
	if p.display != nil {
		p.display.Finish("produced")
		return
	}
	fmt.Fprintf(p.cmd.ErrOrStderr(), "produced %d messages to %s\n", stored, p.topic)
}
