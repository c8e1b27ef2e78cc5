package cli

import "testing"

func TestCLI_FetchedMessagesAreAcknowledgedOrGivenBack(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.run(
		command{args: "topic create orders"},
		command{
			args:   "consumer create orders --name billing --mode lease --start first --lease 1h",
			stdout: []string{"billing\n"},
		},
		command{args: "fetch orders billing", status: exitEmpty, stderr: "no message"},
		command{args: "produce orders", stdin: "one\ntwo\n\nfour", stderr: "produced 4 messages"},
	)

	s.run(
		command{args: "fetch orders billing --ack", stdout: []string{"token", " 1 ", "one"}},
		command{
			args:   "fetch orders billing --limit 2 --wait 1s --json",
			stdout: []string{`"token":`, `"deliveries":1,"data":"two"}`, "\n", `"token":`},
		},
		command{args: "ack orders billing TOKEN0"},
		command{args: "ack orders billing TOKEN0", status: exitRefused, stderr: "hold no lease"},
		command{args: "nack orders billing TOKEN1"},
		command{args: "fetch orders billing --json", stdout: []string{`{"sequence":3,`, `"deliveries":2`}},
		command{args: "nack orders billing TOKEN2 --delay 1h"},
	)
}

func TestCLI_AckRefusesWrongArguments(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.run(command{args: "topic create orders"})

	s.run(
		command{args: "ack orders billing --up-to x y", status: exitUsage, stderr: "one TOKEN"},
		command{args: "ack orders billing", status: exitUsage, stderr: "arg"},
		command{args: "fetch orders none", status: exitRefused, stderr: "does not exist"},
	)
}
