// Package bench measures how fast a broker is, and what a call costs next to the
// work below it: an empty handler of the same HTTP server that reads the same
// body, and the same work straight on JetStream. The kinds take turns in short
// rounds of one run, so that the ratios hold on any machine, noisy ones too.
//
// A [Work] is done by a number of connections at once, see load.go; what is
// measured is in produce.go, consume.go and latency.go, the anchors in anchors.go, how much
// topics, ids and a backlog cost in growth.go, and reports in report.go.
package bench
