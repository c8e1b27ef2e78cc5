// Package sdk is the Go client of dq, a log queue that speaks HTTP.
//
// A [Client] makes the broker's calls. [Client.Topic] is a handle of a topic: it
// creates, produces, browses and streams. [Topic.Subscribe] registers a consumer
// and returns a [Subscription], which fetches and acknowledges messages or, with
// [Subscription.Consume], hands them to a function. An [AsyncProducer] gathers
// messages and sends them in batches.
//
// The classic API has one message a call: a [Producer] and a [Consumer] register
// themselves for several topics and then send and receive.
//
// All of them are safe for concurrent use and reuse their connections.
//
// What the broker refuses is an [*Error]; errors.Is tells which refusal it is,
// as in errors.Is(err, sdk.ErrEmpty). A call that may or may not have taken
// effect, because no answer came, is an error for which
// errors.Is(err, sdk.ErrOutcomeUnknown) holds. Calls that are safe to repeat,
// messages with an idempotency key among them, are repeated with a growing pause,
// and not before the broker's Retry-After, until they succeed or the client's
// number of tries is used up; the others are repeated only if they cannot have
// been worked on.
package sdk
