// Package service implements the operations that clients may ask for, without HTTP.
// The classic API and the API under /v1 offer them in two forms. Where an operation
// is one call of package jetstream, a handler makes that call itself, through the
// fields of [Service].
//
// The files: service.go has the Service, topics.go creates, changes and deletes
// topics, produce.go produces, consumers.go registers, finds, moves and deletes
// consumers and consumes for one, start.go says where in a topic to begin, id.go
// reads ids, errors.go has the errors.
package service
