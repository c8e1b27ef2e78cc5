// Package registry gives out the ids of producers and consumers and keeps what
// each id was registered for, in one key-value bucket of NATS JetStream.
//
// Ids are dense: id n is given out by creating the entry of n, which the engine
// does for one caller only, and only once n-1 exists. So no id is given out twice
// and none is left out, whatever crashes and whatever runs at the same time.
//
// The entry of an id changes once at most: when its producer, consumer or topic is
// deleted, it is marked as deleted. It is never removed, so its id is never given
// out again. Every process watches the bucket, to forget what others delete. The
// entry of a name changes when a consumer that had it is deleted and another gets it.
//
// The files: registry.go opens the bucket, follow.go follows it, entries.go creates, reads and
// deletes entries, consumers.go and producers.go are what callers use, names.go finds
// consumers by name, index.go knows which ids a topic has, reserve.go keeps the ids of
// lost entries from being given out again, errors.go has the errors.
package registry
