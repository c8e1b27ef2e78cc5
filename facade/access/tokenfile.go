package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Scope names what a token may do with a topic. No scope includes another.
type Scope string

// The scopes.
const (
	Produce Scope = "produce" // store messages
	Consume Scope = "consume" // read messages, and have consumers
	Admin   Scope = "admin"   // create, change, purge and delete the topic, and manage its consumers
)

var scopes = []Scope{Produce, Consume, Admin}

// File is the content of a file of tokens:
//
//	{
//	  "tokens": [
//	    {
//	      "name": "billing",
//	      "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//	      "grants": [{"topics": "orders-*", "scopes": ["produce", "consume"]}],
//	      "limits": {"requests_per_second": 100, "max_consumers": 10},
//	      "expires": "2027-01-01T00:00:00Z"
//	    }
//	  ]
//	}
type File struct {
	Tokens []Entry `json:"tokens"`
}

// Entry describes a token, a client certificate, or both, and what they may do.
type Entry struct {
	// Name identifies the entry in logs and errors. No two entries share one.
	Name string `json:"name"`
	// SHA256 is the hash of the token, in hexadecimal.
	SHA256 string `json:"sha256,omitzero"`
	// Cert is the common name of a client certificate, for mTLS.
	Cert   string  `json:"cert,omitzero"`
	Grants []Grant `json:"grants"`
	Limits Limits  `json:"limits,omitzero"`
	// Expires is when the entry stops being valid; zero means never.
	Expires time.Time `json:"expires,omitzero"`
}

// Grant gives scopes on the topics whose names match a pattern; see [Match].
type Grant struct {
	Topics string  `json:"topics"`
	Scopes []Scope `json:"scopes"`
}

// Limits bound how much a token may use; nil means no limit. Each broker counts
// requests and bytes for itself; topics and consumers are those of the cluster.
type Limits struct {
	RequestsPerSecond *float64 `json:"requests_per_second,omitzero"`
	BytesPerSecond    *float64 `json:"bytes_per_second,omitzero"`
	// MaxTopics is the number of topics that match the grants from which on the
	// token may create no more. Topics count whichever token created them, so the
	// broker need not remember that. MaxConsumers is the same for the consumers of
	// those topics.
	MaxTopics    *int `json:"max_topics,omitzero"`
	MaxConsumers *int `json:"max_consumers,omitzero"`
}

// String writes the grant as [ParseGrant] reads it.
func (g Grant) String() string {
	words := make([]string, len(g.Scopes))
	for i, scope := range g.Scopes {
		words[i] = string(scope)
	}
	return g.Topics + "=" + strings.Join(words, ",")
}

// ParseGrant reads a grant such as "orders-*=produce,consume".
func ParseGrant(text string) (Grant, error) {
	cut := strings.LastIndexByte(text, '=')
	if cut < 0 {
		return Grant{}, fmt.Errorf("invalid grant %q: want PATTERN=SCOPE,... such as 'orders-*=produce,consume'", text)
	}

	g := Grant{Topics: text[:cut]}
	for word := range strings.SplitSeq(text[cut+1:], ",") {
		g.Scopes = append(g.Scopes, Scope(word))
	}
	if _, problem := g.check(); problem != "" {
		return Grant{}, fmt.Errorf("invalid grant %q: %s", text, problem)
	}
	return g, nil
}

// Encode writes the file as JSON that people can read and edit.
func (f File) Encode() ([]byte, error) {
	data, err := json.Marshal(f, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// Encode writes the entry as JSON that people can read and paste into a file of
// tokens.
func (e Entry) Encode() ([]byte, error) {
	data, err := json.Marshal(e, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// Append adds an entry to the file of tokens at path. It creates the file with mode
// 0600 if it does not exist. The change is atomic: a reader sees the old file or the
// new one. Errors: [*FileError] if the file is wrong as it stands, others if the
// entry would make it so, or if somebody else is changing it.
func Append(path string, entry Entry) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // replace the file, not the link to it
	}

	// The new file is also the lock: of two concurrent changes, one would lose the
	// entry of the other.
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: somebody else is changing %s; if nobody is, remove it", next, path)
	}
	if err != nil {
		return err
	}

	err = errors.Join(writeAppended(f, path, entry), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
	}
	return err
}

// writeAppended writes to f the file of tokens at path with the entry added, and
// gives it the mode of that file.
func writeAppended(f *os.File, path string, entry Entry) error {
	var file File
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if file, err = Parse(path, old); err != nil {
			return err
		}
		if err := copyMode(f, path); err != nil {
			return err
		}
	}

	file.Tokens = append(file.Tokens, entry)
	if field, problem := file.check(); problem != "" {
		return fmt.Errorf("%s: token %q: %s: %s", path, entry.Name, field, problem)
	}

	data, err := file.Encode()
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// copyMode gives f the permissions of the file at path.
func copyMode(f *os.File, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return f.Chmod(info.Mode().Perm())
}
