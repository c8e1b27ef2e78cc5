package facade

import "time"

// Every bound of the API is here. Those without a source are our choice. The bounds of bodies, connections and their
// times are in package transport, those of topics and keys in package jetstream.

// Consumers.
const (
	defaultLease    = 30 * time.Second
	minLease        = 100 * time.Millisecond // a shorter one could end before the answer arrives
	maxLease        = 12 * time.Hour         // as in Amazon SQS; also the longest delay of a nack
	defaultInFlight = 1000                   // messages; the engine's default for a durable consumer
	maxInFlight     = 10_000                 // messages
	maxPause        = 365 * 24 * time.Hour
	maxConsumerName = 128 // bytes
)

// Messages to produce.
const (
	// maxIdempotencyKey is the most bytes of an idempotency key. The engine keeps each key in memory for the dedup
	// window.
	maxIdempotencyKey = 256

	// maxHeaders bounds the bytes of all names and values, plus headerCost for each header. HTTP clients accept a raw
	// answer with that many.
	maxHeaders = 16 << 10

	// headerCost is the number of bytes that a header counts in addition, as in HTTP/2 (RFC 9113, section 6.5.2).
	headerCost = 32

	// maxBatchHeaders is how many headers the messages of one call may have together. In memory, a header takes ten
	// times as much as its text can.
	maxBatchHeaders = 300_000

	// maxDelay is the longest time from now for which a message can be delayed.
	maxDelay = 365 * 24 * time.Hour
)

// Answers.
const (
	defaultPage = 100 // topics or consumers on a page of a list
	maxPage     = 1000

	defaultMessages = 100    // that browse returns
	maxMessages     = 10_000 // that one call takes or returns, and tokens of leases in one call

	defaultBytes = 4 << 20 // of data that one answer has
	maxBytes     = 32 << 20

	// smallAnswer is how many bytes an answer may have without waiting for its part of the memory for answers.
	smallAnswer = 256 << 10

	// maxWait is the longest long poll. Proxies commonly close a connection that is silent for a minute.
	maxWait = time.Minute
)

// Streams and sockets.
const (
	// streamMessages and streamBytes bound what is fetched for a stream or socket at once. A slow reader holds that
	// much in memory, and what the connection buffers.
	streamMessages = 64
	streamBytes    = 64 << 10

	// defaultHeartbeat is how long a stream or socket stays silent, unless the options say otherwise. It is well below
	// the 60 s after which proxies commonly close a silent connection.
	defaultHeartbeat = 15 * time.Second

	// maxPings is how many heartbeats a client may leave unanswered before its socket is closed.
	maxPings = 3

	// maxSocketRead is the largest text that a client may send on a socket, in bytes.
	maxSocketRead = 1 << 20
)

// drainTime is how long a shutdown waits for clients to send one more request on each open connection. The answer tells
// them to close it. A connection that is idle for longer is closed without such an answer.
const drainTime = 300 * time.Millisecond
