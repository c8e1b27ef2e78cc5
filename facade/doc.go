// Package facade serves dq over HTTP. It decodes requests, checks them, calls
// the operations of a [Queue] and writes what they return; it keeps nothing
// that it could not forget, so any number of facades may serve the same topics.
//
// Where to look: the routes of both APIs in routes.go, the life of the server in
// facade.go, the classic calls in classic.go, those under /v1 in topics.go,
// messages.go and consumers.go, streams in stream.go and socket.go, the
// operations behind every call in queue.go, what a request may look like in
// decode.go and parameters.go, who may make it in authorize.go, and the one
// table that gives each error its code and status in errors.go. No NATS type
// appears here.
package facade
