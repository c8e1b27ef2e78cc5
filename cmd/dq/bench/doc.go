// Package bench measures how fast a broker is, and compares it with two baselines: an
// empty handler of the same HTTP server that reads the same body, and the same work
// on JetStream without dq. The kinds of work take turns in short rounds of one run, so
// that the ratios hold on any machine, even one that does other work too.
//
// A [Work] runs on several connections at once, see load.go. The works on a broker are
// in produce.go, consume.go, lease.go and latency.go, the baselines in baseline_http.go and
// baseline_jetstream.go; self.go starts a broker together with its baselines. What
// topics, ids and a backlog cost is measured in growth.go; report.go writes the results.
package bench
