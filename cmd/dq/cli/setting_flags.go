package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"dq/sdk"
)

// optional is a flag that leaves *into nil unless it is given.
type optional[T any] struct {
	into  **T
	parse func(string) (T, error)
	kind  string // as the help shows it
}

// String implements [pflag.Value]. It returns no default.
func (o optional[T]) String() string { return "" }

// Type implements [pflag.Value].
func (o optional[T]) Type() string { return o.kind }

// Set implements [pflag.Value].
func (o optional[T]) Set(text string) error {
	value, err := o.parse(text)
	if err != nil {
		return err
	}
	*o.into = &value
	return nil
}

func optionalDuration(into **time.Duration) optional[time.Duration] {
	return optional[time.Duration]{into: into, parse: time.ParseDuration, kind: "duration"}
}

func optionalInt(into **int) optional[int] {
	return optional[int]{into: into, parse: strconv.Atoi, kind: "int"}
}

func optionalInt64(into **int64) optional[int64] {
	parse := func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
	return optional[int64]{into: into, parse: parse, kind: "int"}
}

// optionalWord returns a flag that takes one of words.
func optionalWord[T ~string](into **T, words ...T) optional[T] {
	parse := func(text string) (T, error) {
		for _, word := range words {
			if string(word) == text {
				return word, nil
			}
		}
		return "", fmt.Errorf("want one of %q", words)
	}
	return optional[T]{into: into, parse: parse, kind: "string"}
}

// addSettingFlags defines a flag for each setting of a topic.
func addSettingFlags(flags *pflag.FlagSet, s *sdk.PartialSettings) {
	flags.Var(optionalDuration(&s.MaxAge), "max-age", "how long messages are kept, such as 24h; 0s is forever")
	flags.Var(optionalInt64(&s.MaxBytes), "max-bytes", "most bytes that all messages may have; 0 is no limit")
	flags.Var(optionalInt64(&s.MaxMessages), "max-messages", "most messages that are kept; 0 is no limit")
	flags.Var(optionalWord(&s.WhenFull, sdk.DropOldest, sdk.RefuseNew), "when-full", "drop_oldest or refuse_new")
	flags.Var(optionalInt64(&s.MaxMessageBytes), "max-message-bytes",
		"most bytes that one message may have; 0 is the broker's limit")
	flags.Var(optionalDuration(&s.DedupWindow), "dedup-window", "how long idempotency keys are remembered")

	flags.Var(optionalInt(&s.Replicas), "replicas", "servers of a cluster that store the topic, 1 to 5")
	flags.Var(optionalWord(&s.Storage, sdk.FileStorage, sdk.MemoryStorage), "storage",
		"file or memory; it cannot be changed")
}
