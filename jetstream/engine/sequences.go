package engine

import "github.com/nats-io/nats-server/v2/server/avl"

// A SequenceSet is a compressed set of sequences: a bit for each, where they are dense.
type SequenceSet = avl.SequenceSet
