// Package facade serves dq over HTTP. It decodes requests, checks them, calls the operations of package service and
// writes what they return. It keeps in memory only what it can forget, so any number of facades may serve the same
// topics. No NATS type appears here.
//
// A request passes five steps: package transport accepts the connection and reads the body, auth.go checks the token,
// routes.go finds the route, and handler.go calls one handler. The handler returns a response, or an error that
// problem.go reports.
//
// The files, by the question that each answers:
//
//   - accept.go: which media type does the client prefer?
//   - auth.go: who makes a request, and what may the caller do?
//   - classic.go: how are the seven classic calls answered?
//   - consumers.go: how are consumers created, described, moved, paused and deleted under /v1?
//   - doc.go: what is this package?
//   - docs.go: where is the description of the API?
//   - events.go: how are messages streamed as Server-Sent Events?
//   - facade.go: how does the HTTP server start and stop?
//   - fetch.go: how does a consumer get messages?
//   - handler.go: what happens in every call, before and after its handler?
//   - health.go: is the broker alive, and ready?
//   - leases.go: how are messages acknowledged, given back and kept longer?
//   - limits.go: which bounds does the API have?
//   - messagereply.go: how is a list of messages encoded, and its memory bounded?
//   - messages.go: how are messages of a topic read without a consumer?
//   - origin.go: what may a web page of another origin do?
//   - problem.go: which status and code does an error get?
//   - produce.go: how are messages produced under /v1?
//   - quota.go: may the caller create one more topic or consumer?
//   - readmemory.go: how much memory may messages take that are read and not written yet?
//   - respond.go: how is a response written?
//   - routes.go: which calls does the API have, and what does each need?
//   - session.go: what ends a stream, socket or long poll early?
//   - socket.go: how does a WebSocket work?
//   - topics.go: how are topics created, changed, described, purged and deleted under /v1?
//   - unrouted.go: how is a request answered that matches no route?
package facade
