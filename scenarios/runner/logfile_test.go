package runner_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/scenarios/runner"
)

// FuzzParseLine checks that a line is either refused or has four fields that make the
// same line again.
func FuzzParseLine(f *testing.F) {
	f.Add("21:52:23\tINFO\t\tP1-1\t\tT1")
	f.Add("a b c d e")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		line, err := runner.ParseLine(1, text)
		if err != nil {
			return
		}
		for _, field := range []string{line.Time, line.Message, line.Parallel, line.Topic} {
			if field == "" || strings.ContainsAny(field, " \t\n") {
				t.Errorf("%q: field %q", text, field)
			}
		}

		fields := []string{line.Time, line.Message, line.Parallel, line.Topic}
		again, err := runner.ParseLine(1, strings.Join(fields, "\t"))
		if err != nil || again != line {
			t.Errorf("%q: %v, %v", text, again, err)
		}
	})
}

// FuzzLogFile checks that each line of any log file either has the topic of its place in
// the round or is refused, and that a consumed line is read as it was written.
func FuzzLogFile(f *testing.F) {
	for _, text := range []string{
		"21:52:23\tINFO\t\tP1-1\t\tT1\n21:52:23 INFO P1-1 T2\n", "", "\n", "a b c", "a b c d e", "t m p T2",
		"\xff \xff \xff T1", "t m p T1\r\nt m p T2", "0     \n",
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
