package fault

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nuid"
)

// Deployment describes brokers that are started for one run: the first has the
// engine, the others connect to it.
type Deployment struct {
	Command    []string // starts a broker
	Env        []string // added to the environment of this process for each broker
	Facades    int      // number of brokers, at least 1
	Memory     bool     // nothing is stored in files
	Durability string   // interval or always
	Dir        string   // directory of the data; fault disk mounts a file system here
}

// requestTimeout is how long the brokers work on one request. It is short so that
// a pause of a few seconds is already longer.
const requestTimeout = 2 * time.Second

// brokers returns the brokers of d, none of them started. Log gets their output.
func (d *Deployment) brokers(log io.Writer) ([]*process, error) {
	addrs, err := freeAddrs(d.Facades + 1)
	if err != nil {
		return nil, err
	}

	engine, password := addrs[d.Facades], nuid.Next()
	var all []*process
	for i, addr := range addrs[:d.Facades] {
		env := slices.Concat(os.Environ(), d.Env, d.settings(addr))
		switch {
		case d.Facades == 1:
		case i == 0:
			env = append(env, "DQ_NATS_ADDR="+engine, "DQ_NATS_USER=dq", "DQ_NATS_PASSWORD="+password)
		default:
			env = append(env, "DQ_NATS_URL=nats://"+engine, "DQ_NATS_USER=dq", "DQ_NATS_PASSWORD="+password)
		}
		all = append(all, &process{command: d.Command, env: env, addr: addr, log: log})
	}
	return all, nil
}

// settings returns the settings that all brokers have, as environment variables.
func (d *Deployment) settings(addr string) []string {
	persist := "yes"
	if d.Memory {
		persist = "no"
	}
	return []string{
		"DQ_ADDR=" + addr,
		"DQ_PERSIST=" + persist,
		"DQ_DURABILITY=" + d.Durability,
		"DQ_DATA_DIR=" + filepath.Join(d.Dir, "data"),
		"DQ_REQUEST_TIMEOUT=" + requestTimeout.String(),
		"DQ_LOG_LEVEL=warn",
	}
}

// freeAddrs returns n addresses of the loopback interface that are free.
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
