// Package jetstream keeps dq's topics, messages, consumers' positions and delayed
// messages in NATS JetStream. All code that knows NATS is here, in the folder engine
// and in the package registry; no HTTP type appears here.
//
// A topic is one stream, named by [StreamName] and fed by the subjects of [Subject].
// A consumer is not a consumer of the engine but a [Cursor], stored in an entry of a
// key-value bucket. A write of an entry is refused if another process has changed it.
// A process that has the engine to itself ([StoreOptions].Alone) stores positions in
// a journal instead, many in one message. A sleeping consumer costs nothing but its
// entry.
//
// Everything that a process holds in memory can be forgotten at any time. DESIGN.md
// in this folder describes what is stored, and why.
//
// The files, by the question that each answers:
//
//   - advisories.go: which topics does anybody create?
//   - attempts.go: when is a call of the engine made again?
//   - batcher.go: how are messages of concurrent calls published together?
//   - bucket.go: how are entries of a key-value bucket read and written?
//   - confirm.go: how are messages published, and the engine's answers gathered?
//   - connection.go: when is what was asked of the engine never answered?
//   - consumers.go: what is a consumer, and how far is it?
//   - cursor.go: how is a consumer's cursor stored?
//   - deadletter.go: what happens to a message that was delivered too often?
//   - delayed.go: how do messages wait for their time?
//   - delete.go: how are the messages of a topic deleted or purged?
//   - directget.go: how is the engine asked for messages?
//   - doc.go: what is this package?
//   - dropped.go: what was removed before a consumer had read it?
//   - due.go: which delayed messages are due, and in which order are they moved?
//   - ensure.go: how do several processes open the streams that dq needs?
//   - errors.go: which errors do callers get?
//   - fetch.go: how does a consumer get its next messages?
//   - journal.go: how are positions stored when no other process shares the engine?
//   - keys.go: when is an idempotency key taken, by messages that are stored at once or delayed?
//   - lease.go: how are messages acknowledged, and delivered again?
//   - list.go: which topics exist?
//   - lock.go: how do creations and deletions of one topic take turns?
//   - message.go: what is a message, and how is it encoded for the engine?
//   - move.go: how are due messages moved to their topic, each once?
//   - names.go: which names may a topic have, and how are they encoded?
//   - options.go: what does this package need from its caller?
//   - owner.go: which of several processes moves the due messages?
//   - publish.go: how are messages appended to a topic?
//   - purged.go: which messages have clients purged?
//   - read.go: how are messages of a topic read?
//   - readahead.go: which messages are read before a consumer asks for them?
//   - rewind.go: what happens to consumers after a power cut?
//   - seek.go: how is a consumer moved, taken over or paused?
//   - servers.go: which NATS servers can dq use?
//   - settings.go: what can be set for a topic?
//   - state.go: what does a process remember of a consumer?
//   - subjects.go: which subject does a message have, and which key?
//   - topics.go: how are topics created, changed and described?
//   - watch.go: how does a waiting call learn of a new message?
package jetstream
