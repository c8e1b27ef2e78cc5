// Package bench measures how fast a broker is, and compares it with two baselines: an
// empty handler of the same HTTP server that reads the same body, and the same work
// straight on JetStream. The kinds of work take turns in short rounds of one run, so
// that the ratios hold on any machine, even one that does other work too.
//
// A [Work] runs on several connections at once, see load.go. The works on a broker are
// in produce.go, consume.go and latency.go, the baselines in baseline_http.go and
// baseline_jetstream.go. Self.go starts a broker together with its baselines. Growth.go
// measures what topics, ids and a backlog cost, and report.go writes the results.
package bench
