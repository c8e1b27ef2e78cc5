package history

import (
	"fmt"
	"strings"
)

// Payload returns the text of the message with that name. The name decides its
// length: usually less than 150 bytes, now and then up to 60 KiB.
func Payload(name string) string {
	hash := 0
	for _, c := range name {
		hash = (hash*31 + int(c)) % 9973
	}

	length := hash % 60
	if hash%97 == 0 {
		length = 3 * hash
	}
	return name + ":" + strings.Repeat("dq", length)
}

// NameOf returns the name whose [Payload] is text. For any other text it returns
// the beginning of the text in quotes, which is no message's name.
func NameOf(text string) string {
	if name, _, _ := strings.Cut(text, ":"); Payload(name) == text {
		return name
	}
	return fmt.Sprintf("%.60q of %d bytes", text, len(text))
}
