// Package cli is the commands of the dq binary. Each file is one command or a
// few that belong together; root.go has what they share and their exit
// statuses.
package cli
