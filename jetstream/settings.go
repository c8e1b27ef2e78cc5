package jetstream

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// A Duration is a [time.Duration] that is written as text, such as "1h30m".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

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

// Settings are what can be set for a topic. Zero is no limit.
type Settings struct {
	MaxAge          Duration `json:"max_age"`           // how long messages are kept
	MaxBytes        int64    `json:"max_bytes"`         // of all messages, with what the engine stores beside them; at least [MinBytes]
	MaxMessages     int64    `json:"max_messages"`      // that are kept
	WhenFull        string   `json:"when_full"`         // [DropOldest] or [RefuseNew]
	MaxMessageBytes int32    `json:"max_message_bytes"` // data and headers of one message
	DedupWindow     Duration `json:"dedup_window"`      // how long idempotency keys are remembered; 0 is 2m, or MaxAge if that is less
	Replicas        int      `json:"replicas"`          // servers of the cluster that hold the topic, 1 to 5
	Storage         string   `json:"storage"`           // "file" or "memory"; it cannot be changed
}

const (
	// MinBytes is the least that a topic's bytes can be limited to.
	MinBytes = 1024

	// recordRoom is what the engine stores beside the data and headers of a message,
	// at most: 34 bytes, and the subject. What is larger than MaxBytes less that is
	// refused, lest it be stored and go at once.
	recordRoom = 34 + len(subjectPrefix) + 2*MaxEncodedName + 1

	// MaxDuration keeps what is counted from now in what the engine can count.
	MaxDuration = Duration(100 * 365 * 24 * time.Hour)
)

// defaultDedupWindow is the engine's own, which wants none longer than the
// messages are kept.
const defaultDedupWindow = Duration(2 * time.Minute)

// storageNames are the engine's storage types under the names of our settings.
var storageNames = map[Storage]string{File: "file", Memory: "memory"}

// DefaultSettings are those of a topic that is created without any.
func (t *Topics) DefaultSettings() Settings {
	return Settings{WhenFull: DropOldest, Replicas: t.opts.Replicas, Storage: storageNames[t.opts.Storage]}
}

// check refuses values that no topic can have.
func (s *Settings) check() error {
	refuse := func(setting string, value any, want string) error {
		return &SettingError{Setting: setting, Value: fmt.Sprint(value), Want: want}
	}
	switch {
	case s.MaxAge != 0 && s.MaxAge < Duration(100*time.Millisecond):
		return refuse("max_age", time.Duration(s.MaxAge), "0s for no limit, or 100ms and more")
	case s.MaxAge > MaxDuration:
		return refuse("max_age", time.Duration(s.MaxAge), fmt.Sprintf("0s for no limit, or at most %s", time.Duration(MaxDuration)))
	case s.MaxBytes < 0 || s.MaxBytes > 0 && s.MaxBytes < MinBytes:
		return refuse("max_bytes", s.MaxBytes, fmt.Sprintf("0 for no limit, or at least %d", MinBytes))
	case s.MaxMessages < 0:
		return refuse("max_messages", s.MaxMessages, "0 for no limit, or more")
	case s.WhenFull != DropOldest && s.WhenFull != RefuseNew:
		return refuse("when_full", s.WhenFull, DropOldest+" or "+RefuseNew)
	case s.MaxMessageBytes < 0:
		return refuse("max_message_bytes", s.MaxMessageBytes, "0 for no limit but the broker's, or more")
	case s.MaxBytes > 0 && s.MaxMessageBytes >= largestIn(s.MaxBytes): // which stands for 0
		return refuse("max_message_bytes", s.MaxMessageBytes, fmt.Sprintf("0, or less than %d, as max_bytes has room for", largestIn(s.MaxBytes)))
	case s.DedupWindow > MaxDuration:
		return refuse("dedup_window", time.Duration(s.DedupWindow), fmt.Sprintf("at most %s", time.Duration(MaxDuration)))
	case s.DedupWindow != 0 && s.DedupWindow < Duration(100*time.Millisecond):
		return refuse("dedup_window", time.Duration(s.DedupWindow), "0s for the default, or 100ms and more")
	case s.MaxAge != 0 && s.DedupWindow > s.MaxAge:
		return refuse("dedup_window", time.Duration(s.DedupWindow), fmt.Sprintf("at most max_age, which is %s", time.Duration(s.MaxAge)))
	case s.Replicas < 1 || s.Replicas > MaxReplicas:
		return refuse("replicas", s.Replicas, fmt.Sprintf("1 to %d", MaxReplicas))
	case s.Storage != "file" && s.Storage != "memory":
		return refuse("storage", s.Storage, "file or memory")
	}
	return nil
}

// Complete returns s with what the zero of a setting stands for.
func (s Settings) Complete() Settings {
	if s.DedupWindow == 0 {
		s.DedupWindow = defaultDedupWindow
		if s.MaxAge != 0 {
			s.DedupWindow = min(s.DedupWindow, s.MaxAge)
		}
	}
	return s
}

// settingsError is what the engine has against settings that no check of ours
// refused.
func settingsError(operation string, s Settings, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeReplicas:
			return &SettingError{Setting: "replicas", Value: fmt.Sprint(s.Replicas), Want: "at most as many as the cluster has servers, and 1 without a cluster"}
		case codeStorageResources, codeMemoryResources:
			return &SettingError{Setting: "max_bytes", Value: fmt.Sprint(s.MaxBytes), Want: "as much as there is room for, with that of all other topics"}
		case codeInvalidConfig:
			return &SettingError{Setting: "settings", Value: fmt.Sprintf("%+v", s), Want: "others: " + api.Description}
		}
	}
	return engine.Unavailable(operation, err)
}

// apply sets what s says in the configuration of a stream.
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

// largestIn is the largest message in a topic of so many bytes.
func largestIn(maxBytes int64) int32 {
	return int32(min(maxBytes-int64(recordRoom), math.MaxInt32))
}

// settingsOf is the inverse of apply.
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

const (
	// MaxMessageBytes is the largest message limit that can be set: the engine
	// refuses a larger payload than 64 MiB, and headers need some of it.
	MaxMessageBytes = 32 << 20
)
