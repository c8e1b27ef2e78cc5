package jetstream

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// A Duration is a [time.Duration] that is a text in JSON, such as "1h30m".
type Duration time.Duration

// String returns d as text, as [time.Duration.String] does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%.100q is not a duration such as 500ms, 30s or 1h30m, of 2562047h at most", text)
	}
	*d = Duration(value)
	return nil
}

// What a topic does when it is full.
const (
	DropOldest = "drop_oldest" // makes room by removing the oldest messages
	RefuseNew  = "refuse_new"  // fails with [*FullError]
)

// Settings are what clients can set for a topic. A limit of 0 means no limit.
type Settings struct {
	MaxAge          Duration `json:"max_age"`           // how long messages are kept
	MaxBytes        int64    `json:"max_bytes"`         // of all messages as stored, at least [MinBytes]
	MaxMessages     int64    `json:"max_messages"`      // how many messages are kept
	WhenFull        string   `json:"when_full"`         // [DropOldest] or [RefuseNew]
	MaxMessageBytes int32    `json:"max_message_bytes"` // data and headers of one message
	DedupWindow     Duration `json:"dedup_window"`      // how long idempotency keys are kept; 0 is min(2m, MaxAge)
	Replicas        int      `json:"replicas"`          // servers of the cluster that hold the topic, 1 to 5
	Storage         string   `json:"storage"`           // "file" or "memory"; it cannot be changed
}

const (
	// MinBytes is the smallest limit of a topic's bytes.
	MinBytes = 1024

	// MaxMessageBytes is the largest limit of a message's bytes that can be set: the
	// engine stores at most 32 MiB with subject and headers, those of delayed messages included.
	MaxMessageBytes = 31 << 20

	// MaxDuration bounds all durations, so that a time which lies that far in the future
	// or the past fits into the engine's 64-bit nanoseconds.
	MaxDuration = Duration(100 * 365 * 24 * time.Hour)

	// minDuration is the shortest MaxAge and DedupWindow. It is the engine's limit.
	minDuration = Duration(100 * time.Millisecond)

	// defaultDedupWindow is the engine's default.
	defaultDedupWindow = Duration(2 * time.Minute)

	// recordOverhead is the most that the engine stores in addition to the data and
	// headers of a message: 34 bytes and the subject. A message of more than
	// MaxBytes minus that is refused, as it would be removed as soon as it was stored.
	recordOverhead = 34 + len(subjectPrefix) + 2*MaxEncodedName + 1
)

// storageNames maps the engine's storage types to their names in [Settings].
var storageNames = map[Storage]string{File: "file", Memory: "memory"}

// DefaultSettings returns the settings of a topic that is created without any.
func (t *Topics) DefaultSettings() Settings {
	return Settings{WhenFull: DropOldest, Replicas: t.opts.Replicas, Storage: storageNames[t.opts.Storage]}
}

// check returns a [*SettingError] if no topic can have these settings.
func (s *Settings) check() error {
	switch {
	case s.MaxAge != 0 && s.MaxAge < minDuration:
		return refuse("max_age", s.MaxAge, "0s for no limit, or 100ms and more")
	case s.MaxAge > MaxDuration:
		return refuse("max_age", s.MaxAge, fmt.Sprintf("0s for no limit, or at most %s", MaxDuration))
	}

	if err := s.checkLimits(); err != nil {
		return err
	}
	if err := s.checkDedupWindow(); err != nil {
		return err
	}

	switch {
	case s.Replicas < 1 || s.Replicas > MaxReplicas:
		return refuse("replicas", s.Replicas, fmt.Sprintf("1 to %d", MaxReplicas))
	case s.Storage != "file" && s.Storage != "memory":
		return refuse("storage", s.Storage, "file or memory")
	}
	return nil
}

func (s *Settings) checkLimits() error {
	switch {
	case s.MaxBytes < 0 || s.MaxBytes > 0 && s.MaxBytes < MinBytes:
		return refuse("max_bytes", s.MaxBytes, fmt.Sprintf("0 for no limit, or at least %d", MinBytes))
	case s.MaxMessages < 0:
		return refuse("max_messages", s.MaxMessages, "0 for no limit, or more")
	case s.WhenFull != DropOldest && s.WhenFull != RefuseNew:
		return refuse("when_full", s.WhenFull, DropOldest+" or "+RefuseNew)
	case s.MaxMessageBytes < 0:
		return refuse("max_message_bytes", s.MaxMessageBytes, "0 for no limit but the broker's, or more")
	case s.MaxBytes > 0 && s.MaxMessageBytes >= largestIn(s.MaxBytes):
		// The engine's limit for MaxMessageBytes 0 is largestIn itself, see apply.
		want := fmt.Sprintf("0, or less than %d, as max_bytes has room for", largestIn(s.MaxBytes))
		return refuse("max_message_bytes", s.MaxMessageBytes, want)
	}
	return nil
}

func (s *Settings) checkDedupWindow() error {
	switch {
	case s.DedupWindow > MaxDuration:
		return refuse("dedup_window", s.DedupWindow, fmt.Sprintf("at most %s", MaxDuration))
	case s.DedupWindow != 0 && s.DedupWindow < minDuration:
		return refuse("dedup_window", s.DedupWindow, "0s for the default, or 100ms and more")
	case s.MaxAge != 0 && s.DedupWindow > s.MaxAge:
		return refuse("dedup_window", s.DedupWindow, fmt.Sprintf("at most max_age, which is %s", s.MaxAge))
	}
	return nil
}

// refuse returns the error for a setting with a wrong value.
func refuse(setting string, value any, want string) error {
	return &SettingError{Setting: setting, Value: fmt.Sprint(value), Want: want}
}

// Complete returns s with the default in place of a zero DedupWindow.
func (s Settings) Complete() Settings {
	if s.DedupWindow == 0 {
		s.DedupWindow = defaultDedupWindow
		if s.MaxAge != 0 {
			s.DedupWindow = min(s.DedupWindow, s.MaxAge)
		}
	}
	return s
}

// settingsError returns the error for settings that passed our checks but that the
// engine refused.
func settingsError(operation string, s Settings, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return engine.Unavailable(operation, err)
	}

	switch api.ErrorCode {
	case codeReplicas:
		return refuse("replicas", s.Replicas, "at most as many as the cluster has servers, and 1 without a cluster")
	case codeNoPeers:
		if strings.Contains(api.Description, "peer offline") {
			return &UnavailableError{Operation: operation, Harmless: true, Err: err}
		}
		return refuse("replicas", s.Replicas, "at most as many as the cluster has servers that run and have room: "+
			api.Description)
	case codeSubjectsOverlap:
		return &SubjectsTakenError{}
	case codeStorageResources, codeMemoryResources:
		return refuse("max_bytes", s.MaxBytes, "no more than the engine has space for, all topics taken together")
	case codeInvalidConfig:
		return &SettingError{Setting: "settings", Value: fmt.Sprintf("%+v", s), Want: "others: " + api.Description}
	}
	return engine.Unavailable(operation, err)
}

// apply writes s into the configuration of a stream.
func (s *Settings) apply(cfg *jetstream.StreamConfig) {
	unlimited := func(n int64) int64 {
		if n == 0 {
			return -1
		}
		return n
	}

	cfg.MaxAge = time.Duration(s.MaxAge)
	cfg.MaxBytes = unlimited(s.MaxBytes)
	cfg.MaxMsgs = unlimited(s.MaxMessages)
	cfg.MaxMsgSize = int32(unlimited(int64(s.MaxMessageBytes)))
	if s.MaxMessageBytes == 0 && s.MaxBytes > 0 {
		cfg.MaxMsgSize = largestIn(s.MaxBytes)
	}

	cfg.Discard = jetstream.DiscardOld
	if s.WhenFull == RefuseNew {
		cfg.Discard = jetstream.DiscardNew
	}
	cfg.Duplicates = time.Duration(s.Complete().DedupWindow)
	cfg.Replicas = s.Replicas
	cfg.Storage = File
	if s.Storage == storageNames[Memory] {
		cfg.Storage = Memory
	}
}

// largestIn returns the size of the largest message that fits into a topic of
// maxBytes, which is at least MinBytes.
func largestIn(maxBytes int64) int32 {
	return int32(min(maxBytes-int64(recordOverhead), math.MaxInt32))
}

// settingsOf reads the settings from the configuration of a stream; it is the
// inverse of apply.
func settingsOf(cfg jetstream.StreamConfig) Settings {
	s := Settings{
		MaxAge:          Duration(cfg.MaxAge),
		MaxBytes:        max(cfg.MaxBytes, 0),
		MaxMessages:     max(cfg.MaxMsgs, 0),
		WhenFull:        DropOldest,
		MaxMessageBytes: max(cfg.MaxMsgSize, 0),
		DedupWindow:     Duration(cfg.Duplicates),
		Replicas:        cfg.Replicas,
		Storage:         storageNames[cfg.Storage],
	}

	if s.MaxBytes > 0 && s.MaxMessageBytes == largestIn(s.MaxBytes) {
		s.MaxMessageBytes = 0
	}
	if cfg.Discard == jetstream.DiscardNew {
		s.WhenFull = RefuseNew
	}
	return s
}
