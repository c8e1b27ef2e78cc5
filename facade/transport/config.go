package transport

import (
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	// MaxHeaderBytes bounds the request line and all headers of a request.
	MaxHeaderBytes = 16 << 10

	// TransferTimeout bounds how long a client may take to send a request, from
	// its first byte to its last, and to take an answer.
	TransferTimeout = 30 * time.Second

	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
)

// ServerConfig returns the configuration of the HTTP server, without the parts that
// depend on the settings of the broker. Benchmarks measure an empty server with it.
func ServerConfig() fiber.Config {
	return fiber.Config{
		DisableStartupMessage: true,
		CaseSensitive:         true,
		StrictRouting:         true,
		StreamRequestBody:     true, // ReadBody decides how much of it is read
		// A form is a message like any other: nothing may read it before ReadBody.
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               MaxHeaderBytes,
		ReadTimeout:                  TransferTimeout,
		IdleTimeout:                  idleTimeout,
	}
}

// MaxBody returns the most bytes of a request body if a message may have maxMessage
// bytes.
func MaxBody(maxMessage int) int {
	const (
		escaped  = 6        // bytes that JSON may need for one of a message, as in "\u0000"
		others   = 64 << 10 // for the other fields of a message
		anyBatch = 16 << 20 // for a batch of small messages
	)
	return max(maxMessage*escaped+others, anyBatch)
}
