// Package sdk is the Go client of dq, a log queue that speaks HTTP.
//
// A [Client] makes the broker's calls one by one. A [Producer] and a [Consumer]
// register themselves for several topics and then send and receive. All of them
// are safe for concurrent use and reuse their connections.
//
// What the broker refuses is an [*Error]; errors.Is tells which refusal it is,
// as in errors.Is(err, sdk.ErrEmpty). A call that may or may not have taken
// effect, because no answer came, is an error for which
// errors.Is(err, sdk.ErrOutcomeUnknown) holds. Calls that are safe to repeat
// are repeated with a growing pause until they succeed or the client's number
// of tries is used up; the others are repeated only if they cannot have reached
// the broker.
package sdk
