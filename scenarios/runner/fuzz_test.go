package runner_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/scenarios/runner"
)

// FuzzLogFile checks that whatever is in a log file, a line of it is either of
// the round or refused with its number, and that what is consumed is read again.
func FuzzLogFile(f *testing.F) {
	for _, text := range []string{
		"21:52:23\tINFO\t\tP1-1\t\tT1\n21:52:23 INFO P1-1 T2\n", "", "\n", "a b c", "a b c d e", "t m p T2", "\xff \xff \xff T1", "t m p T1\r\nt m p T2", "0     \n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		round := []string{"T1", "T2"}
		n := 0
		for line, err := range runner.Lines(strings.NewReader(text), "file", round) {
			if err != nil {
				assert.Contains(t, err.Error(), "log file:incompitable")
				break
			}
			assert.Equal(t, round[n%len(round)], line.Topic)
			n++
		}
		if topic, message, ok := runner.ParseConsumed(text); ok {
			assert.Equal(t, text+"\n", runner.FormatConsumed(topic, message))
		}
	})
}
