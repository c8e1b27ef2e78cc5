// Package engine runs the storage engine, a nats-server with JetStream, in this
// process, and connects to one that runs elsewhere. It is the only package that
// imports nats-server.
//
// The files, by the question that each answers:
//
//   - block.go: which records of a block are sound?
//   - check.go: what is damaged in the files of a stream?
//   - checkdir.go: is a whole data directory sound?
//   - clients.go: which NATS clients may connect, and what may they do?
//   - connect.go: how does dq stay connected to an engine?
//   - damage.go: what happens to damaged streams?
//   - disk.go: what happens when the disk is full, or a write fails?
//   - disk_linux.go, disk_other.go: what can the operating system do for a disk?
//   - doc.go: what is this package?
//   - errors.go: which errors do callers get?
//   - format.go: can this dq open a data directory that another version wrote?
//   - index.go: what does the engine's index of a stream say?
//   - lastrun.go: how did the last run end?
//   - lock.go: how is a data directory kept to one process?
//   - log.go: where does the engine's log go?
//   - meta.go: are the settings of streams and consumers sound?
//   - recovery.go: what does a start repair, and what does it refuse?
//   - server.go: how does the engine start, stop and restart?
//   - spare.go: what lets a start and a purge succeed on a disk that others have filled?
//   - sync.go: how is stored data synced to disk?
//   - version.go: which nats-server is it?
package engine
