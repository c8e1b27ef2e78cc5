// Package sdk is the Go client of dq, a log queue over HTTP.
//
// A [Client] makes the broker's calls. [Client.Topic] returns a handle of a topic,
// which creates, produces, browses and streams. [Topic.Subscribe] registers a
// consumer and returns a [Subscription], which fetches and acknowledges messages
// or, with [Subscription.Consume], calls a function with each of them. An
// [AsyncProducer] gathers messages and sends them in batches.
//
// The classic API has one message a call: a [Producer] and a [Consumer] register
// with several topics, and then send and receive.
//
// All of them are safe for concurrent use and reuse their connections.
//
// A refusal of the broker is an [*Error]; errors.Is tells which one, as in
// errors.Is(err, sdk.ErrEmpty). A call that may or may not have taken effect,
// because its answer was lost, fails with an error for which
// errors.Is(err, sdk.ErrOutcomeUnknown) holds.
//
// The client repeats calls that fail. A call that is safe to make twice, such as
// producing messages with idempotency keys, is repeated until it succeeds or the
// number of retries is used up. Other calls are repeated only if the broker cannot
// have worked on them. The pauses between the attempts grow, and are never shorter
// than the broker's Retry-After.
package sdk
