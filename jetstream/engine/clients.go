package engine

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// loginTimeout bounds how long the engine waits for the login of a NATS client, which
// includes looking up its rights.
const loginTimeout = 5 * time.Second

// ClientPort says where and how NATS clients may connect.
type ClientPort struct {
	// Addr is the address to listen on; empty means that no port is open.
	Addr string
	// User and Password log in to everything, dq's own streams included; an empty
	// User cannot log in. Other brokers that share the engine use them.
	User, Password string
	// TLS, if it is not nil, is what the port speaks.
	TLS *tls.Config
	// Login decides about all other clients; nil refuses them.
	Login func(Login) (Client, error)
}

// A Login is what a NATS client shows when it connects.
type Login struct {
	Secret string               // its password or, without one, its token
	TLS    *tls.ConnectionState // nil without TLS
	Remote net.Addr
}

// A Client is a NATS client that may connect.
type Client struct {
	// Account names all clients with the same rights.
	Account string
	Rights  []TopicRights
}

// TopicRights say what a NATS client may do with the stream of a topic.
type TopicRights struct {
	Stream   string
	Subjects string // of the stream's messages
	Publish  bool
	Consume  bool
}

// Accounts of NATS clients are separate: each imports from the account of the engine only what its rights allow, and
// its other subjects, such as those of replies, exist only in itself. So a client cannot subscribe to the replies of
// others, nor have a message delivered to a subject that it may not publish on. Permissions of users in one account
// could not prevent the latter.
var (
	// consumeRequests are the requests of those who may consume, on a stream.
	consumeRequests = []string{
		"$JS.API.STREAM.INFO.%s",
		"$JS.API.CONSUMER.INFO.%s.*",
		"$JS.API.CONSUMER.LIST.%s",
		"$JS.API.CONSUMER.NAMES.%s",
		"$JS.API.CONSUMER.MSG.NEXT.%s.*",
		"$JS.API.DIRECT.GET.%s",
		"$JS.ACK.%s.>",
	}
	// exported are the subjects that accounts may import, for any topic. The replies
	// to some are several messages.
	exported = map[string]server.ServiceRespType{
		"$JS.API.STREAM.INFO.*":         server.Singleton,
		"$JS.API.CONSUMER.INFO.*.*":     server.Singleton,
		"$JS.API.CONSUMER.LIST.*":       server.Singleton,
		"$JS.API.CONSUMER.NAMES.*":      server.Singleton,
		"$JS.API.CONSUMER.MSG.NEXT.*.*": server.Streamed,
		"$JS.API.DIRECT.GET.*":          server.Streamed,
		"$JS.ACK.>":                     server.Singleton,
		TopicSubjects:                   server.Singleton,
	}
)

// clients lets NATS clients in. It implements [server.Authentication].
type clients struct {
	port     ClientPort
	password string        // with which dq itself logs in
	open     chan struct{} // closed when others may log in, too
	log      *slog.Logger

	mu       sync.Mutex
	ns       *server.Server // that runs or starts now
	imported map[string]map[string]bool
}

// newClients returns what decides about the clients of a port, dq itself included.
func newClients(port ClientPort, log *slog.Logger) *clients {
	return &clients{port: port, password: rand.Text(), open: make(chan struct{}), log: log}
}

// login is how dq itself logs in.
func (c *clients) login() nats.Option { return nats.UserInfo("", c.password) }

// use sets the server whose accounts the clients get, and exports the subjects that these accounts may import.
func (c *clients) use(ns *server.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.ns, c.imported = ns, make(map[string]map[string]bool)
	for subject, replies := range exported {
		if err := ns.GlobalAccount().AddServiceExportWithResponse(subject, replies, nil); err != nil {
			return fmt.Errorf("export %s: %w", subject, err)
		}
	}
	return nil
}

// configure adds the port to the options of a nats-server.
func (c *clients) configure(opts *server.Options) (err error) {
	if opts.Host, opts.Port, err = listenAddr(c.port.Addr); err != nil {
		return err
	}
	opts.TLSConfig = c.port.TLS
	opts.CustomClientAuthentication = c
	opts.AuthTimeout = loginTimeout.Seconds()
	return nil
}

// Check implements [server.Authentication].
func (c *clients) Check(client server.ClientAuthentication) bool {
	shown := client.GetOpts()
	if shown.Username == "" && equal(shown.Password, c.password) {
		client.RegisterUser(&server.User{Username: "dq facade"})
		return true
	}

	// Wait rather than refuse: clients give up when they are refused again.
	select {
	case <-c.open:
	case <-time.After(loginTimeout):
		return false
	}
	if c.port.User != "" && equal(shown.Username, c.port.User) && equal(shown.Password, c.port.Password) {
		client.RegisterUser(&server.User{Username: c.port.User})
		return true
	}
	return c.checkLogin(client)
}

// checkLogin lets in a client that shows a token or a client certificate.
func (c *clients) checkLogin(client server.ClientAuthentication) bool {
	if c.port.Login == nil {
		return false
	}
	shown := client.GetOpts()
	login := Login{Secret: shown.Password, TLS: client.GetTLSConnectionState(), Remote: client.RemoteAddress()}
	if login.Secret == "" {
		login.Secret = shown.Token
	}
	found, err := c.port.Login(login)
	if err != nil {
		return false
	}

	account, err := c.account(found)
	if err != nil {
		c.log.Error("cannot let a NATS client in", "error", err)
		return false
	}
	client.RegisterUser(&server.User{Username: found.Account, Account: account})
	return true
}

func equal(shown, want string) bool {
	return subtle.ConstantTimeCompare([]byte(shown), []byte(want)) == 1
}

// account returns the account of a client, with its rights.
func (c *clients) account(client Client) (*server.Account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	account, _ := c.ns.LookupOrRegisterAccount(client.Account)
	imported := c.imported[client.Account]
	if imported == nil {
		imported = make(map[string]bool)
		c.imported[client.Account] = imported
	}

	for _, rights := range client.Rights {
		for _, subject := range rights.subjects() {
			if imported[subject] {
				continue
			}
			if err := account.AddServiceImport(c.ns.GlobalAccount(), subject, subject); err != nil {
				return nil, fmt.Errorf("import %s: %w", subject, err)
			}
			imported[subject] = true
		}
	}
	return account, nil
}

// subjects are those on which a client with these rights may send.
func (r TopicRights) subjects() (subjects []string) {
	if r.Publish {
		subjects = append(subjects, r.Subjects)
	}
	if r.Consume {
		for _, request := range consumeRequests {
			subjects = append(subjects, fmt.Sprintf(request, r.Stream))
		}
	}
	return subjects
}

// OpenPort lets NATS clients log in. Until then they wait, so that none sees the store before it is repaired.
func (s *Server) OpenPort() { close(s.clients.open) }

// Grant gives the clients of an account rights on one more topic. Rights are never
// taken away: a client whose rights shrink belongs to another account.
func (s *Server) Grant(account string, rights TopicRights) error {
	_, err := s.clients.account(Client{Account: account, Rights: []TopicRights{rights}})
	return err
}

// Disconnect closes the connections of an account's clients.
func (s *Server) Disconnect(account string) error {
	ns := s.current()
	open, err := ns.Connz(&server.ConnzOptions{Account: account, Username: true, Limit: math.MaxInt32})
	if err != nil {
		return fmt.Errorf("list the NATS clients of %s: %w", account, err)
	}
	for _, conn := range open.Conns {
		_ = ns.DisconnectClientByID(conn.Cid) // an error says that it has gone
	}
	return nil
}
