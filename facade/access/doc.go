// Package access decides who may do what: it knows the bearer tokens and client
// certificates of a broker, what each may do with which topics and how much of
// it, the certificate that the broker itself shows, and it keeps the log of
// administrative calls. It knows neither HTTP's routes nor the topics there are:
// every decision is made from a token's grants alone, before anything is looked
// up, so that no answer can depend on whether a topic exists.
//
// [Open] reads the file of tokens and follows its changes, [Tokens.Authenticate]
// finds whose request it is, and the [Principal] that it returns answers the
// rest. No token is ever kept, written or logged, only its SHA-256.
package access
