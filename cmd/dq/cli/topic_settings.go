package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"dq/sdk"
)

// optional is a flag that leaves what it points to nil unless it is given.
type optional[T any] struct {
	into  **T
	parse func(string) (T, error)
	kind  string
}

func (o optional[T]) String() string { return "" }

func (o optional[T]) Type() string { return o.kind }

func (o optional[T]) Set(text string) error {
	value, err := o.parse(text)
	if err == nil {
		*o.into = &value
	}
	return err
}

// word parses one of some texts.
func word[T ~string](words ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		for _, word := range words {
			if string(word) == text {
				return word, nil
			}
		}
		return "", fmt.Errorf("want one of %q", words)
	}
}

func number(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

// settingFlags defines a flag for each setting of a topic.
func settingFlags(flags *pflag.FlagSet, s *sdk.PartialSettings) {
	duration := func(into **time.Duration) optional[time.Duration] {
		return optional[time.Duration]{into, time.ParseDuration, "duration"}
	}
	integer := func(into **int64) optional[int64] { return optional[int64]{into, number, "int"} }
	flags.Var(duration(&s.MaxAge), "max-age", "how long messages are kept, such as 24h; 0s is for ever")
	flags.Var(integer(&s.MaxBytes), "max-bytes", "bytes of all messages; 0 is no limit")
	flags.Var(integer(&s.MaxMessages), "max-messages", "messages that are kept; 0 is no limit")
	flags.Var(optional[sdk.WhenFull]{&s.WhenFull, word(sdk.DropOldest, sdk.RefuseNew), "string"}, "when-full", "drop_oldest or refuse_new")
	flags.Var(integer(&s.MaxMessageBytes), "max-message-bytes", "bytes of one message; 0 is the broker's limit")
	flags.Var(duration(&s.DedupWindow), "dedup-window", "how long idempotency keys are remembered")
	flags.Var(optional[int]{&s.Replicas, strconv.Atoi, "int"}, "replicas", "servers of a cluster that hold the topic, 1 to 5")
	flags.Var(optional[sdk.Storage]{&s.Storage, word(sdk.FileStorage, sdk.MemoryStorage), "string"}, "storage", "file or memory; it cannot be changed")
}
