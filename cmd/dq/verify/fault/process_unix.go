//go:build unix

package fault

import (
	"fmt"
	"os/exec"
	"syscall"
)

const canSignal = true

// ownGroup keeps Ctrl-C on the terminal from the brokers: we end them.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func pause(p *process) { p.signal(syscall.SIGSTOP) }

func resume(p *process) { p.signal(syscall.SIGCONT) }

// withFileLimit is a command that runs command with that many file descriptors.
func withFileLimit(command []string, limit int) []string {
	return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}, command...)
}
