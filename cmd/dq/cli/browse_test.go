package cli

import "testing"

func TestCLI_BrowsePrintsMessages(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.produceSeven()

	s.run(
		command{
			args:   "browse orders --limit 2",
			stdout: []string{"sequence", "key", "data", " 1 ", "one\n", " 2 ", "two\n"},
		},
		command{
			args: "browse orders --key eu --json",
			stdout: []string{
				`{"sequence":5,`,
				`"key":"eu","content_type":"text/plain","headers":{"Trace":"7"},"data":"five"}`,
			},
		},
		command{args: "browse orders --from 7", stdout: []string{" 7 ", "seven"}},
		command{args: "browse orders --from new"},
		command{args: "browse none", status: exitRefused, stderr: "does not exist"},
	)
}

func TestCLI_TailPrintsTheLastMessages(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.produceSeven()

	s.run(
		command{args: "tail orders -n 2", stdout: []string{"sequence", " 6 ", "six\n", " 7 ", "seven\n"}},
		command{args: "tail orders -n 1 --key eu", stdout: []string{" 5 ", "eu", "five\n"}},
		command{args: "tail orders --from 6 --json", stdout: []string{`"data":"six"`, `"data":"seven"`}},
		command{args: "tail orders -n 0"},
	)
}
