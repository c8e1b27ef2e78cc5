package sdk_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dq/sdk"
)

// leaseBroker stands for a broker with one consumer in mode lease.
type leaseBroker struct {
	lease    time.Duration
	fetch    func(n int, w http.ResponseWriter) // answers the n-th fetch
	extended chan []string                      // receives the tokens of an extension, if it has room
	loses    bool                               // extensions answer that the lease of t1 is lost

	fetches atomic.Int32
	mu      sync.Mutex
	acks    []string // calls of ack and nack, with their tokens
}

// start starts the broker and returns its consumer.
func (b *leaseBroker) start(t *testing.T) *sdk.Subscription {
	t.Helper()
	address, _ := startServer(t, b.ServeHTTP)
	return connectTo(t, address, sdk.WithRetries(1)).Topic("T").Subscription("c")
}

func (b *leaseBroker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ Tokens []string }
	_ = json.NewDecoder(r.Body).Decode(&in) // a fetch has no body
	_, operation, _ := strings.Cut(r.URL.Path, "/consumers/c")
	switch operation {
	case "":
		fmt.Fprintf(w, `{"mode":"lease","lease":%q}`, b.lease)
	case "/fetch":
		b.fetch(int(b.fetches.Add(1)), w)
	case "/extend":
		b.extend(w, in.Tokens)
	default:
		b.mu.Lock()
		b.acks = append(b.acks, fmt.Sprint(operation, in.Tokens))
		b.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}
}

func (b *leaseBroker) extend(w http.ResponseWriter, tokens []string) {
	select {
	case b.extended <- tokens:
	default:
	}
	if b.loses {
		writeProblem(w, http.StatusConflict, `{"status":409,"code":"lease_lost","detail":"d","tokens":["t1"]}`)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// once answers the first fetch with messages, and the others with none.
func once(records ...sdk.Record) func(int, http.ResponseWriter) {
	return func(n int, w http.ResponseWriter) {
		if n > 1 {
			writeRecords(w)
			return
		}
		writeRecords(w, records...)
	}
}

// failingFetches answers four fetches with different failures, and the n-th of the
// others with message n.
func failingFetches(n int, w http.ResponseWriter) {
	switch n {
	case 1:
		writeProblem(w, http.StatusServiceUnavailable, `{"code":"unavailable","detail":"d"}`)
	case 2:
		hangUp(w, &http.Request{Body: http.NoBody})
	case 3:
		write(w, `not JSON`)
	case 4: // the broker is stopping: it does not wait
		writeRecords(w)
	default:
		writeRecords(w, leased(uint64(n)))
	}
}

// leased returns the message with that sequence, whose token is t and the sequence.
func leased(sequence uint64) sdk.Record {
	return sdk.Record{Sequence: sequence, Token: fmt.Sprint("t", sequence), Deliveries: 1}
}

func writeRecords(w http.ResponseWriter, records ...sdk.Record) {
	_ = json.NewEncoder(w).Encode(struct {
		Messages []sdk.Record `json:"messages"`
	}{records})
}
