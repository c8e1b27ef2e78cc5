package transport

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFraming_EndOfTheRequestLineIsFoundInAnyPieces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: x\n":         false, // headers are checked elsewhere
		"\r\n\r\nGET / HTTP/1.1\r\nHost: x\n": false,
		"GET / HTTP/1.1\nHost: x\r\n":         true,
		"\nGET / HTTP/1.1\r\n":                true,
		"\r\n\nGET / HTTP/1.1\r\n":            true,
	} {
		for size := 1; size <= len(text); size++ {
			var line requestLine
			line.see([]byte("P\r\nX: y\n"), true) // the request before
			line.see([]byte(text[:1]), true)
			for rest := text[1:]; rest != ""; {
				n := min(size, len(rest))
				line.see([]byte(rest[:n]), false)
				rest = rest[n:]
			}

			assert.Equal(t, want, line.bareLF, "%q in pieces of %d bytes", text, size)
		}
	}
}
