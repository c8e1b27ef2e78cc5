// Package access decides what each client may do. It knows the bearer tokens and client
// certificates that a broker accepts, what each may do with which topics, and how
// much of it. It also holds the certificate that the broker itself shows, and
// writes the log of administrative calls.
//
// It knows neither the routes of HTTP nor which topics exist: it decides by the
// grants of a token alone, before anything is looked up, so that no answer can
// depend on whether a topic exists.
//
// [Open] reads the file of tokens and follows its changes. [Tokens.Authenticate]
// finds the [Principal] that makes a request, and the principal answers what it
// may do. No token is ever stored, written or logged, only its SHA-256.
package access
