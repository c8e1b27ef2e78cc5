package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"dq/cmd/dq/verify/history"
)

// Deployment is a deployment of a run's own: one broker with the engine, and others
// that use it.
type Deployment struct {
	Command    []string // that starts a broker, without arguments for itself
	Env        []string // of each broker, beside that of this process
	Facades    int      // at least 1
	Memory     bool     // nothing is kept in files
	Durability string   // interval or always
	Dir        string   // for the data and the log of the brokers
}

// requestTimeout is how long the brokers of a run's own work on one request, so
// that they need not be paused for long.
const requestTimeout = 2 * time.Second

// readyTime bounds how long a broker may take to start or to stop.
const readyTime = time.Minute

// process is a broker in a process of its own.
type process struct {
	env  []string
	args []string
	Url  string
	log  io.Writer

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// processes makes the brokers of s, and starts none.
func (s *Deployment) Processes(log io.Writer) ([]*process, error) {
	ports, err := freeAddrs(s.Facades + 1)
	if err != nil {
		return nil, err
	}
	persist, password := "yes", nuid.Next()
	if s.Memory {
		persist = "no"
	}
	var all []*process
	for i := range s.Facades {
		env := slices.Concat(os.Environ(), s.Env, []string{
			"DQ_ADDR=" + ports[i], "DQ_PERSIST=" + persist, "DQ_DURABILITY=" + s.Durability,
			"DQ_DATA_DIR=" + filepath.Join(s.Dir, "data"), "DQ_REQUEST_TIMEOUT=" + requestTimeout.String(), "DQ_LOG_LEVEL=warn",
		})
		if s.Facades > 1 {
			env = append(env, "DQ_NATS_USER=dq", "DQ_NATS_PASSWORD="+password)
			if i == 0 {
				env = append(env, "DQ_NATS_ADDR="+ports[s.Facades])
			} else {
				env = append(env, "DQ_NATS_URL=nats://"+ports[s.Facades])
			}
		}
		all = append(all, &process{args: s.Command, env: env, Url: "http://" + ports[i], log: log})
	}
	return all, nil
}

// freeAddrs are addresses of the loopback interface that nobody listens on.
func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// start starts the broker and returns when it is ready.
func (p *process) Start() error {
	cmd := exec.Command(p.args[0], p.args[1:]...) //nolint:gosec // ourselves
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, p.log, p.log
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended does not matter
		close(ended)
	}()
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	return p.await(func() bool { return ready(p.Url) })
}

// await returns when what is so. The broker must not end before.
func (p *process) await(what func() bool) error {
	deadline := time.After(readyTime)
	for !what() {
		select {
		case <-p.ended:
			return errors.New("the broker ended by itself, its log says why")
		case <-deadline:
			return fmt.Errorf("the broker was not ready after %s", readyTime)
		case <-time.After(history.RetryPause):
		}
	}
	return nil
}

func ready(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", bytes.NewReader(nil))
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

// signal sends a signal to the broker.
func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) } // it may have ended

// end ends the broker with a signal, and by force if that takes too long.
func (p *process) end(sig os.Signal) (byForce bool) {
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
