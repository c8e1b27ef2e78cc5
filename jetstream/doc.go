// Package jetstream keeps dq's facts in NATS JetStream: topics as streams,
// messages, and the position of each consumer. It also runs the engine itself,
// a nats-server in this process.
//
// A topic is one stream, named by [StreamName] and fed by the subjects below
// [Subject]. A consumer is a [Cursor]: an entry of a key-value bucket that
// holds the sequence it consumed last. Nothing else is stored for a consumer,
// so one that sleeps costs nothing but its entry, and the position is a
// synchronous write of its own that no crash of the engine can take back.
//
// No HTTP type appears here. Everything a process holds in memory can be
// forgotten at any time.
package jetstream
