package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

const (
	// tokenPrefix lets people, and tools that look for secrets in code, see what
	// it is.
	tokenPrefix = "dq_"
	tokenBytes  = 32 // of randomness

	hashSize = sha256.Size

	// How many characters a token has. One hash, which is all that guards it, is
	// enough only for what nobody can guess: short ones are refused.
	minToken = 32
	maxToken = 512
)

// NewToken makes a token of 256 random bits, and its hash in hexadecimal. There
// is no way from the hash back to the token, nor to find it by trying.
func NewToken() (token, sha256 string) {
	var secret [tokenBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	sum := hashOf([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

func hashOf(token []byte) [hashSize]byte { return sha256.Sum256(token) }

// bearer is the token in an Authorization header (RFC 6750).
func bearer(authorization []byte) (token []byte, ok bool) {
	scheme, token, _ := bytes.Cut(authorization, []byte(" "))
	token = bytes.TrimSpace(token)
	ok = bytes.EqualFold(scheme, []byte("Bearer")) &&
		len(token) >= minToken && len(token) <= maxToken && !bytes.ContainsAny(token, " \t")
	return token, ok
}
