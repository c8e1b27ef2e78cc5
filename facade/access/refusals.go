package access

import (
	"log/slog"
	"time"
)

const (
	// refusalPause is how long the refused logins of one client are counted after one was written: who guesses tokens
	// must not be able to fill the disk with the audit log.
	refusalPause = time.Second

	// maxRefused is how many clients are told apart within that time. Those above it are counted together.
	maxRefused = 1024

	// otherClients is the name of those.
	otherClients = "others"
)

// Login describes a request without a valid token or client certificate.
type Login struct {
	Client    string // the address of the client
	Operation string // as in [Call]
	Reason    Reason
}

// refusals are the logins of one client that were refused and not written yet.
type refusals struct {
	count int
	last  Login
}

// Refuse records a login that was refused. It writes the first of a client at once, and then a line a second at most,
// which has the last of the logins and says in "count" how many it stands for.
func (a *Audit) Refuse(l Login) {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.refused[l.Client] == nil && len(a.refused) >= maxRefused {
		l.Client = otherClients
	}
	r := a.refused[l.Client]
	if r == nil {
		r = new(refusals)
		a.refused[l.Client] = r
		a.writeRefusals(l.Client, &refusals{count: 1, last: l})
		time.AfterFunc(refusalPause, func() { a.endPause(l.Client, r) })
		return
	}
	r.count, r.last = r.count+1, l
}

// endPause writes what was refused to a client in the last second, and forgets the client if that is nothing.
func (a *Audit) endPause(client string, r *refusals) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.refused[client] != r: // the log is closed
	case r.count == 0:
		delete(a.refused, client)
	default:
		a.writeRefusals(client, r)
		time.AfterFunc(refusalPause, func() { a.endPause(client, r) })
	}
}

// writeRefusals writes a line for what was refused to a client, if there is anything. The caller holds the lock.
func (a *Audit) writeRefusals(client string, r *refusals) {
	if r.count == 0 {
		return
	}
	a.write(r.last.Operation,
		slog.String("remote", client), slog.String("code", "unauthenticated"),
		slog.String("reason", string(r.last.Reason)), slog.Int("count", r.count))
	r.count = 0
}
