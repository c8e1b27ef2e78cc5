package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	// readyTime bounds how long a broker may take to start or to stop.
	readyTime = time.Minute

	// pollPause is the pause between two looks at something that is waited for.
	pollPause = 25 * time.Millisecond
)

// process is a broker in a process of its own.
type process struct {
	command []string
	env     []string
	addr    string
	log     io.Writer

	cmd   *exec.Cmd     // nil before the first start
	ended chan struct{} // closed when cmd has ended
}

func (p *process) url() string { return "http://" + p.addr }

// start starts the broker and returns when it is ready.
func (p *process) start() error {
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, p.log, p.log
	setProcessGroup(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}

	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // it does not matter how the broker ended
		close(ended)
	}()
	return p.waitReady()
}

// waitReady returns when the broker is ready. It fails when the broker ends, or is
// not ready in time.
func (p *process) waitReady() error {
	deadline := time.After(readyTime)
	for !p.ready() {
		select {
		case <-p.ended:
			return errors.New("the broker ended while it started: its log says why")
		case <-deadline:
			return fmt.Errorf("the broker was not ready %s after its start: its log may say why", readyTime)
		case <-time.After(pollPause):
		}
	}
	return nil
}

func (p *process) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// hasEnded reports whether the process of a broker that was started has ended.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends a signal to the broker. A broker that has ended gets none.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// end ends the broker with a signal, and kills it if that takes too long.
func (p *process) end(sig os.Signal) (killed bool) {
	p.signal(sig)
	select {
	case <-p.ended:
		return false
	case <-time.After(readyTime):
		p.signal(os.Kill)
		<-p.ended
		return true
	}
}
