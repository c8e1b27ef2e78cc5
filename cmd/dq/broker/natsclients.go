package broker

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"dq/facade/access"
	"dq/facade/transport"
	"dq/jetstream"
	"dq/jetstream/engine"
)

// lookupTimeout bounds how long the login of a NATS client may take to look up the topics.
const lookupTimeout = 3 * time.Second

// natsClients lets NATS clients in that show a token or a client certificate. A client may do with the messages of a
// topic what it may do over HTTP. Other calls, such as creating topics and registering consumers, are possible over
// HTTP only.
type natsClients struct {
	tokens *access.Tokens
	tls    *access.TLS   // nil without TLS
	audit  *access.Audit // nil: refused logins are not recorded
	logger *slog.Logger

	engine  *engine.Server
	topics  *jetstream.Topics
	created *nats.Subscription // to the names of new topics

	mu   sync.Mutex
	open map[string]*natsAccount // by name
}

// A natsAccount stands for all clients that connected with one token or one certificate.
type natsAccount struct {
	name      string
	principal *access.Principal
	cert      *tls.ConnectionState // nil with a token
	forget    func()               // stops watching the principal and the certificate
}

func newNATSAccount(p *access.Principal, cert *tls.ConnectionState) *natsAccount {
	name := p.Rights()
	if cert != nil {
		name += fmt.Sprintf("-%x", sha256.Sum256(cert.PeerCertificates[0].Raw))
	}
	return &natsAccount{name: name, principal: p, cert: cert}
}

func newNATSClients(tokens *access.Tokens, tls *access.TLS, audit *access.Audit, logger *slog.Logger) *natsClients {
	open := make(map[string]*natsAccount)
	return &natsClients{tokens: tokens, tls: tls, audit: audit, logger: logger, open: open}
}

// start grants rights on topics that are created from now on. Other brokers that share the engine may create them, so
// it listens to the engine.
func (n *natsClients) start(nc *nats.Conn, topics *jetstream.Topics) (err error) {
	n.topics = topics
	n.created, err = jetstream.OnTopicCreated(nc, n.grantAll)
	return err
}

// login implements the field Login of [engine.ClientPort].
func (n *natsClients) login(login engine.Login) (engine.Client, error) {
	account, err := n.authenticate(login)
	if err != nil {
		n.refuse(login, err)
		return engine.Client{}, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()

	// Watch before the lookup, so that no change is missed meanwhile.
	n.watch(account)
	if err := n.unchanged(account.principal); err != nil {
		return engine.Client{}, err
	}

	client := engine.Client{Account: account.name}
	for topic, err := range n.topics.Names(ctx, "", "") {
		if err != nil {
			n.logger.Error("cannot look up a NATS client's rights", "token", account.principal.Name(), "error", err)
			return engine.Client{}, err
		}
		if rights, some := rightsOf(account.principal, topic); some {
			client.Rights = append(client.Rights, rights)
		}
	}
	return client, nil
}

// authenticate finds whose token or certificate a client shows. Errors: [*access.UnauthenticatedError].
func (n *natsClients) authenticate(login engine.Login) (*natsAccount, error) {
	if login.Secret != "" {
		p, err := n.tokens.Authenticate([]byte("Bearer "+login.Secret), nil)
		if err != nil {
			return nil, err
		}
		return newNATSAccount(p, nil), nil
	}

	if login.TLS != nil {
		if err := n.tls.Check(login.TLS); err != nil {
			return nil, err
		}
	}
	p, err := n.tokens.Authenticate(nil, login.TLS)
	if err != nil {
		return nil, err
	}
	return newNATSAccount(p, login.TLS), nil
}

// refuse records a client that may not connect.
func (n *natsClients) refuse(login engine.Login, err error) {
	var unknown *access.UnauthenticatedError
	if n.audit != nil && errors.As(err, &unknown) {
		n.audit.Refuse(access.Login{
			Client:    transport.ClientOf(login.Remote),
			Operation: "NATS CONNECT",
			Reason:    unknown.Reason,
		})
	}
}

func rightsOf(p *access.Principal, topic string) (rights engine.TopicRights, some bool) {
	rights = engine.TopicRights{
		Stream:   jetstream.StreamName(topic),
		Subjects: jetstream.Subjects(topic),
		Publish:  p.Allows(access.Produce, topic),
		Consume:  p.Allows(access.Consume, topic),
	}
	return rights, rights.Publish || rights.Consume
}

// watch ends the connections of an account when it loses its rights.
func (n *natsClients) watch(account *natsAccount) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open[account.name] != nil {
		return
	}

	check := func() { n.check(account) }
	ignoreTokens, ignoreCerts := n.tokens.OnChange(account.principal, check), func() bool { return true }
	if account.cert != nil {
		ignoreCerts = n.tls.OnChange(account.cert, check)
	}
	account.forget = func() {
		ignoreTokens()
		ignoreCerts()
	}
	n.open[account.name] = account
}

// check ends the connections of an account that has lost its rights.
func (n *natsClients) check(account *natsAccount) {
	n.mu.Lock()
	if n.open[account.name] != account {
		n.mu.Unlock()
		return // it was checked already
	}
	delete(n.open, account.name)
	n.mu.Unlock()
	account.forget()

	err := n.unchanged(account.principal)
	if err == nil && account.cert != nil {
		err = n.tls.Check(account.cert)
	}
	if err == nil {
		n.watch(newNATSAccount(account.principal, account.cert))
		return
	}
	if err := n.engine.Disconnect(account.name); err != nil {
		n.logger.Error("cannot end the connections of NATS clients that lost their rights", "error", err)
	}
}

// unchanged returns an error if a principal has other rights than before, or none.
func (n *natsClients) unchanged(p *access.Principal) error {
	now, err := n.tokens.Renew(p)
	if err == nil && now.Rights() != p.Rights() {
		err = errors.New("the rights of the token have changed")
	}
	return err
}

// grantAll gives the clients their rights on a new topic.
func (n *natsClients) grantAll(topic string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, account := range n.open {
		rights, some := rightsOf(account.principal, topic)
		if !some {
			continue
		}
		if err := n.engine.Grant(account.name, rights); err != nil {
			n.logger.Error("cannot give a NATS client its rights", "topic", topic, "error", err)
		}
	}
}

// stop stops watching.
func (n *natsClients) stop() {
	if n.created != nil {
		_ = n.created.Unsubscribe()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, account := range n.open {
		account.forget()
	}
}
