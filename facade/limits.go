package facade

import "time"

const (
	defaultLease    = 30 * time.Second
	minLease        = 100 * time.Millisecond
	maxLease        = 12 * time.Hour
	defaultInFlight = 1000
	maxInFlight     = 10_000
	maxPause        = 365 * 24 * time.Hour
	maxConsumerName = 128 // bytes
)

const (
	// How many topics or consumers there are on a page of a list.
	defaultPage = 100
	maxPage     = 1000

	// How many messages one call may take or bring.
	defaultMessages = 100
	maxMessages     = 10_000

	// How many bytes of messages one answer may bring.
	defaultBytes = 4 << 20
	maxBytes     = 32 << 20

	// maxWait is the longest long poll.
	maxWait = time.Minute
)

const (
	// maxIdempotencyKey is in bytes. The engine keeps each for the dedup window.
	maxIdempotencyKey = 256

	// maxHeaders is in bytes of names and values, with headerCost for each, as
	// HTTP/2 counts. It keeps an answer with them in what HTTP clients accept.
	maxHeaders = 16 << 10

	headerCost = 32

	maxDelay = 365 * 24 * time.Hour
)
