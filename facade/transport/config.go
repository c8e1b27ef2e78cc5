package transport

import (
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	// A body may be a JSON string in which every byte of the message is escaped
	// ("\u0000"), and the other fields.
	BodyBytesPerMessageByte = 6

	BodyRoom = 64 << 10

	// A batch may have that much in any case.
	MinBodyLimit = 16 << 20

	// maxHeaderBytes bounds the request line and all headers of a request.
	MaxHeaderBytes = 16 << 10

	// transferTimeout bounds how long a client may take to send a request, from
	// its first byte to its last, and to take an answer.
	TransferTimeout = 30 * time.Second

	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
)

// ServerConfig is how the HTTP server is set up, but for what depends on the
// broker's own settings. Benchmarks compare with a server that is set up so.
func ServerConfig() fiber.Config {
	return fiber.Config{
		DisableStartupMessage: true,
		CaseSensitive:         true,
		StreamRequestBody:     true, // readBody decides how much of it is read
		// A form is a message like any other, and not to be read before readBody.
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               MaxHeaderBytes,
		ReadTimeout:                  TransferTimeout,
		IdleTimeout:                  idleTimeout,
	}
}
