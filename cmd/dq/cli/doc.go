// Package cli holds the commands of the dq binary, one file per command and named after it: topic.go is dq topic.
//
// What the commands share is in root.go (all commands, and how they run), exit.go (exit statuses), client.go (which
// broker they talk to), output.go and records.go (how they print).
package cli
