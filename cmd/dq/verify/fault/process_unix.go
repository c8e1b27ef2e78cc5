//go:build unix

package fault

import (
	"fmt"
	"os/exec"
	"syscall"
)

// canSignal says that processes can be stopped and continued.
const canSignal = true

// setProcessGroup keeps a Ctrl-C on the terminal from the broker: the run ends it.
func setProcessGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func pause(p *process) { p.signal(syscall.SIGSTOP) }

func resume(p *process) { p.signal(syscall.SIGCONT) }

// withFileLimit returns a command that runs command with that many file
// descriptors at most.
func withFileLimit(command []string, limit int) []string {
	return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}, command...)
}
