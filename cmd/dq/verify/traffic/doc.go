// Package traffic makes calls to a deployment of dq as its clients would, and
// records each of them in a [history.Recorder].
//
// It uses net/http rather than the sdk: the sdk repeats calls, and a check needs
// one request and one outcome per operation.
//
// A round of traffic has scenes. The scene "log" has all that is promised of a topic
// whose messages stay; each other one is about a single promise, on a topic of its own.
//
//   - round.go: what happens in one round, and in the scene "log"?
//   - scenes.go: which scenes exist?
//   - deadletter.go, delayed.go, dropped.go, expected.go, keys.go, life.go, pause.go,
//     purge.go, seek.go, settings.go, socket.go, ttl.go: what do the workers of the scenes of these names do?
//   - worker.go: when does a client repeat a call, and when does it give up?
//   - produce.go, consume.go, bystanders.go: what do the workers of the scene "log" do?
//   - calls.go: which request does an operation send?
//   - answers.go: what is recorded of a successful answer?
//   - stream.go: how is a stream of events read?
//   - client.go: how is a request sent, and which outcome has it?
//   - cleanup.go: how are the topics of a run deleted?
package traffic
