package jetstream

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// firstAttempt bounds the first attempt of a call; each further attempt may take twice as long. A server that hangs
	// does not answer, but another one may answer at once.
	firstAttempt = time.Second

	// attemptPause is the mean pause between two attempts. A cluster that has lost its leader elects another within
	// some seconds.
	attemptPause = 100 * time.Millisecond

	// prompt is how long an answer of an engine that works takes at most. A server that has stood
	// still answers late, and first from what it knew before: others may have stored more since.
	prompt = 100 * time.Millisecond
)

// Repeat calls try until the engine answers, or ctx ends. Repeated calls of try must have the same effect as one. Use
// it where the engine may be a cluster: a stream that has lost its leader does not answer until it has another. If an
// answer that there is nothing is not [prompt], Repeat asks once more.
func Repeat[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	var reason error // what the engine has said last
	late := false    // an answer has come late
	for limit := firstAttempt; ; limit *= 2 {
		attempt, cancel := context.WithTimeout(ctx, limit)
		sent := time.Now()
		out, err := try(attempt)
		cancel()
		if isNothing(err) && !late && time.Since(sent) > prompt && ctx.Err() == nil {
			late = true
			continue
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			reason = err
		}

		switch {
		case err == nil || !mayRepeat(err):
			return out, err
		case ctx.Err() != nil || !pause(ctx):
			return out, cmp.Or(reason, err)
		}
	}
}

// repeat calls try as [Repeat] does where the engine is shared. Where it is not, the engine answers
// everything, however long it takes, unless it is restarted meanwhile, as on a full disk. So there repeat
// calls try again only if the connection was cut off.
func repeat[T any](ctx context.Context, t *Topics, try func(context.Context) (T, error)) (T, error) {
	if !t.opts.Alone {
		return Repeat(ctx, try)
	}
	for {
		out, err := tryUncut(ctx, t, try)
		if !errors.Is(err, nats.ErrDisconnected) || !t.awaitConnection(ctx) {
			return out, err
		}
	}
}

// tryUncut calls try with a context that ends when the connection is cut off: what is asked before then is never
// answered. What is asked while there is no connection is sent when it is back.
func tryUncut[T any](ctx context.Context, t *Topics, try func(context.Context) (T, error)) (T, error) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(t.connection.uncut(), func() { cancel(nats.ErrDisconnected) })
	defer stop()

	out, err := try(attempt)
	if err != nil && ctx.Err() == nil && attempt.Err() != nil {
		err = nats.ErrDisconnected
	}
	return out, err
}

// awaitConnection waits until the connection that was cut off is back. It returns false if ctx ends first.
func (t *Topics) awaitConnection(ctx context.Context) bool {
	for pause(ctx) {
		if t.nc.IsConnected() {
			return true
		}
		if t.nc.IsClosed() {
			return false
		}
	}
	return false
}

// errNoLeader says that a stream has no leader now. What the other servers say about it may be outdated.
var errNoLeader = errors.New("the stream has no leader now: too few of its servers run or reach each other")

// errOutOfDate says that a server has answered by what it knew before it stood still.
var errOutOfDate = errors.New("a server that stood still has answered from what it knew before")

// isNothing reports whether err says that the engine does not have what was asked for.
func isNothing(err error) bool {
	return isMissing(err) || errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrKeyNotFound)
}

// mayRepeat reports whether err says that the engine did not answer, or cannot do its work
// for now.
func mayRepeat(err error) bool {
	var api *jetstream.APIError
	return reachedNobody(err) || errors.Is(err, errNoLeader) || errors.Is(err, errInCreation) ||
		errors.Is(err, errOutOfDate) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrDisconnected) ||
		errors.As(err, &api) && api.ErrorCode == codeNotAvailable
}

// reachedNobody reports whether err says that nobody has received a message or a request:
// no server leads its stream, or dq is not connected.
func reachedNobody(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded) ||
		errors.Is(err, jetstream.ErrNoStreamResponse)
}

// mayHaveEffect reports whether a request for a change that failed with err may have been done all the same.
func mayHaveEffect(err error) bool { return err != nil && !isNothing(err) && !reachedNobody(err) }

// pause waits for a random time around attemptPause, so that several processes do not repeat their calls in step. It
// returns false if ctx ends first.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(attemptPause/2 + rand.N(attemptPause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitStream waits a moment, and reports whether a message for a stream that did not
// receive it may be sent again: ctx has not ended, and the stream may exist.
func (t *Topics) awaitStream(ctx context.Context, stream string) bool {
	if !pause(ctx) {
		return false
	}
	attempt, cancel := context.WithTimeout(ctx, firstAttempt)
	defer cancel()
	_, err := t.js.Stream(attempt, stream)
	return !errors.Is(err, jetstream.ErrStreamNotFound) && ctx.Err() == nil
}

// lookUp looks up a stream. Its state is that of the leader.
func (t *Topics) lookUp(ctx context.Context, name string) (jetstream.Stream, error) {
	return repeat(ctx, t, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := streamOfLeader(ctx, t.js, name)
		return stream, t.doubt(ctx, name, err)
	})
}

// doubt returns err, the answer to a request about a stream of a topic, or errOutOfDate if it says
// that the stream does not exist although a server of the cluster serves it: that a stream exists is
// answered by one server, and one that has just stood still does not know the streams that others
// have created since.
func (t *Topics) doubt(ctx context.Context, stream string, err error) error {
	if !isMissing(err) || t.nc.ConnectedClusterName() == "" {
		return err
	}
	// No message has this subject.
	subject := "$JS.API.DIRECT.GET." + stream
	if _, absent := t.nc.RequestWithContext(ctx, subject, []byte(`{"last_by_subj":"dq"}`)); absent != nil {
		return err
	}
	return errOutOfDate
}

// streamOfLeader looks up a stream once. It fails with errNoLeader if the answer is not that of a leader: without a
// leader, any server of the stream may answer.
func streamOfLeader(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	if c := stream.CachedInfo().Cluster; c != nil && c.Leader == "" {
		return nil, errNoLeader
	}
	return stream, nil
}
