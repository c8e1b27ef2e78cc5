// Package test tests a whole broker from outside: each test starts a broker on a free port and calls it over HTTP. The
// tests know what a client knows, so they hold however the broker is built.
//
// A test is named after its feature and what it shows, TestLease_AckUpToEndsAllEarlierLeases, and stands in the file of
// its feature. To run the tests of one feature, or one test:
//
//	go test -run Lease ./facade/test
//	go test -run TestLease_AckUpToEndsAllEarlierLeases ./facade/test
//
// The tests mostly wait, so they are faster with more of them at a time: go test -parallel 6 ./facade/test.
//
// What the tests use:
//   - main_test.go: how brokers are started: one, two that share an engine, one in a process that can be killed
//   - client_test.go: the client of /v1, and messages and topics as it sees them
//   - consumer_client_test.go: the client of one consumer
//   - description_test.go: the check of every answer against the OpenAPI description, and the test that it is served
//   - refusal_test.go: the check that bad calls are refused and change nothing
//
// The features:
//   - classic_test.go: the classic calls, with their client
//   - topic_test.go: topics and their settings, purge, deletion, lists
//   - deletion_test.go: topics that clients create and delete at the same time, deletions that were not finished
//   - produce_test.go: single messages and batches, idempotency, expected sequences, TTL
//   - dedup_test.go: idempotency keys of messages that are stored at once and delayed
//   - delayed_test.go: messages that are delivered later
//   - browse_test.go: reading a topic without a consumer
//   - consumer_test.go: registration, start, key, seek, pause, deletion
//   - fetch_test.go: fetch and long polls
//   - lease_test.go: leases, ack, nack, extend
//   - deadletter_test.go: messages that are delivered too often
//   - dropped_test.go: the count of messages that were removed before a consumer had read them
//   - stream_test.go: Server-Sent Events, with their client
//   - socket_test.go: WebSockets, with their client
//   - access_test.go: tokens and scopes, with the client of a broker that asks for tokens
//   - clientcert_test.go: client certificates that expire, or whose authority is removed
//   - cors_test.go: cross-origin calls
//   - origin_test.go: pages of other origins, sockets of other origins, raw messages in a browser
//   - codes_test.go: the error codes of the broker, the description and the sdk
//   - connections_test.go: how many connections one client, and calls that wait, may have
//   - limits_test.go: sizes of bodies, batches and messages; slow clients
//   - request_test.go: malformed HTTP, unknown paths, methods and parameters
//   - tls_test.go: plain HTTP at a TLS port
//   - nats_test.go: topics that NATS clients use at the same time
//   - natsport_test.go: which NATS clients may connect, and what may they do?
package test
