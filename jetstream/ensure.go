package jetstream

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errInCreation says that another process is creating a stream.
var errInCreation = errors.New("another process is creating the stream")

// EnsureStream opens a stream that dq needs, and creates it if it does not exist. Several processes may do so at once;
// one of them creates it. An existing stream gets the settings that are set in cfg, except that its replicas are never
// lowered: another process may have asked for more. It tries again until ctx ends.
func EnsureStream(
	ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig,
) (jetstream.Stream, error) {
	return Repeat(ctx, func(ctx context.Context) (jetstream.Stream, error) {
		stream, err := streamOfLeader(ctx, js, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = js.CreateStream(ctx, cfg)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, errInCreation // with other settings, which the next attempt sees
		}
		if err != nil {
			return nil, permissionError(js.Conn(), err, cfg.Name)
		}

		have := stream.CachedInfo().Config
		if want := merge(have, cfg); !reflect.DeepEqual(have, want) {
			return js.UpdateStream(ctx, want)
		}
		return stream, nil
	})
}

// merge returns the settings of an existing stream with those that are set in cfg.
func merge(have, cfg jetstream.StreamConfig) jetstream.StreamConfig {
	want := have
	from, to := reflect.ValueOf(cfg), reflect.ValueOf(&want).Elem()
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}

	want.Replicas = max(have.Replicas, cfg.Replicas)
	if isBucket(cfg) {
		want.AllowDirect = directReads(want.Replicas)
	}
	return want
}

// A Bucket is a key-value bucket that dq needs.
type Bucket struct {
	Name, Description string
	Storage           Storage
	Replicas          int
	TTL               time.Duration // after which an entry is gone that was not written again; 0 is never
}

// EnsureBucket opens a bucket, as [EnsureStream] does with a stream.
func EnsureBucket(ctx context.Context, js jetstream.JetStream, b Bucket) (jetstream.KeyValue, error) {
	duplicates := 2 * time.Minute
	if b.TTL > 0 {
		duplicates = min(duplicates, b.TTL) // the engine allows no more
	}

	_, err := EnsureStream(ctx, js, jetstream.StreamConfig{
		Name:              bucketStream(b.Name),
		Description:       b.Description,
		Subjects:          []string{"$KV." + b.Name + ".>"},
		Storage:           b.Storage,
		Replicas:          b.Replicas,
		MaxMsgsPerSubject: 1,
		Discard:           jetstream.DiscardNew,
		Duplicates:        duplicates,
		MaxAge:            b.TTL,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       directReads(b.Replicas),
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
	})
	if err != nil {
		return nil, err
	}
	return openBucket(ctx, js, b.Name)
}

// isBucket reports whether a stream is to hold a bucket.
func isBucket(cfg jetstream.StreamConfig) bool { return cfg.AllowRollup && cfg.MaxMsgsPerSubject == 1 }

// directReads reports whether the entries of a bucket may be read from any server that has it. If several have it, all
// but the leader may lack the newest entries.
func directReads(replicas int) bool { return replicas <= 1 }

// permissionError returns the error of a call that got no answer. If the reason is a missing permission for a subject
// that contains part, it is a [*PermissionError]: the engine reports a missing permission on the connection, not in an
// answer.
func permissionError(nc *nats.Conn, err error, part string) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	last := nc.LastError()
	if errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), part) {
		return &PermissionError{Err: last}
	}
	return err
}
