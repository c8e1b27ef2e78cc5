// Package registry gives out the ids of producers and consumers and keeps what
// each id was registered for, in one key-value bucket of NATS JetStream.
//
// Ids are dense: id n is given by creating the entry of n, which the engine
// does for one caller only, and only once n-1 is there. So whatever crashes or
// races there are, no id is given twice and none is left out. A registration
// never changes, so what was read once stays true.
package registry
