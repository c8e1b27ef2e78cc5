// Package enginetest runs clusters of nats-servers in the process of a test. They stand for the servers of DQ_NATS_URL,
// so they contain nothing of dq.
package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds how long a cluster may take to elect its leader.
const startTimeout = time.Minute

// A Cluster is a cluster of nats-servers with JetStream, on ports of the loopback interface.
type Cluster struct {
	dir     string
	options []server.Options
	servers []*server.Server
}

// Start starts a cluster of that many servers, and returns when it has a leader. Configure, if it is not nil, may
// change the options of each server.
func Start(size int, configure func(*server.Options)) (_ *Cluster, err error) {
	c := &Cluster{servers: make([]*server.Server, size)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()

	if c.dir, err = os.MkdirTemp("", "dq-cluster-"); err != nil {
		return nil, err
	}
	if err := c.configure(size, configure); err != nil {
		return nil, err
	}
	for i := range c.servers {
		if err := c.Run(i); err != nil {
			return nil, err
		}
	}
	return c, c.awaitLeader()
}

// configure sets the options of the servers.
func (c *Cluster) configure(size int, configure func(*server.Options)) error {
	ports, err := freePorts(2 * size)
	if err != nil {
		return err
	}

	clients, routes := ports[:size], ports[size:]
	for i := range size {
		opts := server.Options{
			ServerName: fmt.Sprintf("s%d", i),
			Host:       "127.0.0.1",
			Port:       clients[i],
			Cluster:    server.ClusterOpts{Name: "dq", Host: "127.0.0.1", Port: routes[i], PoolSize: -1},
			JetStream:  true,
			StoreDir:   filepath.Join(c.dir, strconv.Itoa(i)),
			NoSigs:     true,
			NoLog:      true,
		}
		for _, port := range routes {
			opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
		}
		if configure != nil {
			configure(&opts)
		}
		c.options = append(c.options, opts)
	}
	return nil
}

// freePorts returns n ports that are free. The system gives ports of 32768 and more to clients; lower ones stay free
// until a server takes them.
func freePorts(n int) (ports []int, err error) {
	for range 100 * n {
		if len(ports) == n {
			return ports, nil
		}
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close() // all at the end, so that none is found twice
		ports = append(ports, port)
	}
	return nil, errors.New("no free ports")
}

// Run starts server i, which does not run now. It does not wait until the server is part of the cluster.
func (c *Cluster) Run(i int) error {
	opts := c.options[i] // the server changes its own
	ns, err := server.NewServer(&opts)
	if err != nil {
		return err
	}
	c.servers[i] = ns
	ns.Start()
	if !ns.ReadyForConnections(startTimeout) {
		return fmt.Errorf("server %d did not start within %s", i, startTimeout)
	}
	return nil
}

// awaitLeader returns when the cluster has a leader.
func (c *Cluster) awaitLeader() error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, ns := range c.servers {
			if ns.JetStreamIsLeader() && ns.JetStreamIsCurrent() {
				return nil
			}
		}
	}
	return fmt.Errorf("the cluster has no leader after %s", startTimeout)
}

// Stop stops server i, as SIGTERM does.
func (c *Cluster) Stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// Leader returns the number of the server that leads a stream, or -1 if none does now.
func (c *Cluster) Leader(stream string) int {
	for i, ns := range c.servers {
		if ns.Running() && ns.JetStreamIsStreamLeader("$G", stream) {
			return i
		}
	}
	return -1
}

// URL returns the URLs of all servers, as DQ_NATS_URL takes them.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.options))
	for i := range c.options {
		urls[i] = c.ServerURL(i)
	}
	return strings.Join(urls, ",")
}

// ServerURL returns the URL of server i.
func (c *Cluster) ServerURL(i int) string {
	return fmt.Sprintf("nats://127.0.0.1:%d", c.options[i].Port)
}

// Close stops all servers, and removes their files.
func (c *Cluster) Close() {
	for _, ns := range c.servers {
		if ns != nil {
			ns.Shutdown()
			ns.WaitForShutdown()
		}
	}
	_ = os.RemoveAll(c.dir)
}
