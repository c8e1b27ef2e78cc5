package jetstream_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/jetstream"
)

func TestErrors_SayWhatIsWrongWithWhatAndWhatToDo(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		err  error
		want string
	}{
		{err: &jetstream.TopicNotFoundError{Topic: "T"}, want: "Topic:T does not exist"},
		{err: &jetstream.ExistsError{Topic: "T"}, want: "Topic:T exists already"},
		{err: &jetstream.EmptyError{Consumer: 7, Topic: "T"}, want: "Consumer:7 has consumed all messages of Topic:T"},
		{
			err: &jetstream.StorageFullError{Free: 5 << 20, Reserve: 64 << 20},
			want: "the broker's disk is full (5 MiB free, 64 MiB are kept): nothing was stored; " +
				"delete or purge topics, or make room, and try again",
		},

		{err: &jetstream.ConsumerNotFoundError{Consumer: "c"}, want: "Consumer:c does not exist"},
		{
			err:  &jetstream.ConsumerNotFoundError{Consumer: "7", Deleted: true, Topic: "T"},
			want: "Consumer:7 does not exist any more: it was deleted, or Topic:T was",
		},
		{
			err:  &jetstream.NoMessageError{Topic: "T", Sequence: 3},
			want: "Topic:T has no message 3: it was removed, or is not stored yet",
		},
		{
			err:  &jetstream.SettingError{Setting: "replicas", Value: "9", Want: "1 to 5"},
			want: `invalid replicas "9": want 1 to 5`,
		},
		{
			err:  &jetstream.FullError{Topic: "T"},
			want: "Topic:T is full and refuses new messages: purge it, or raise max_messages or max_bytes",
		},
		{
			err: &jetstream.MessageTooLargeError{Topic: "T", Limit: 10},
			want: "the message is larger than Topic:T takes, which are 10: " +
				"send less, or raise its max_message_bytes or max_bytes",
		},
		{
			err:  &jetstream.MessageTooLargeError{Limit: 10},
			want: "the message is larger than the limit of 10 bytes: send less, or raise DQ_MAX_MESSAGE_BYTES",
		},
		{
			err:  &jetstream.SequenceError{Topic: "T", Last: new(uint64(4))},
			want: "the last sequence of Topic:T is 4 and not the expected one; nothing was stored",
		},
		{
			err:  &jetstream.SequenceError{Topic: "T"},
			want: "the last sequence of Topic:T is not the expected one; nothing was stored",
		},
		{
			err: &jetstream.DeadLetterError{Topic: "dead", Sequence: 3, Err: errors.New("it is full")},
			want: "message 3 was delivered as often as it may be, " +
				"and the dead-letter topic does not take it: it is full",
		},
	} {
		assert.EqualError(t, test.err, test.want)
	}
}
