package access_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

func TestTokens_AuthenticateByHash(t *testing.T) {
	t.Parallel()
	first, billing := entry(t, "billing", "orders=consume")
	second, audit := entry(t, "audit", "orders=consume")
	tokens, _ := open(t, newTestLog().Logger, billing, audit)

	for _, test := range []struct{ header, name string }{
		{"Bearer " + first, "billing"},
		{"bearer  " + first + " ", "billing"},
		{"BEARER " + second, "audit"},
	} {
		p, err := tokens.Authenticate([]byte(test.header), nil)

		require.NoError(t, err, "%q", test.header)
		assert.Equal(t, test.name, p.Name())
	}
}

func TestTokens_RefusalSaysWhy(t *testing.T) {
	t.Parallel()
	first, billing := entry(t, "billing", "orders=consume")
	second, audit := entry(t, "audit", "orders=consume")
	stranger, _ := access.NewToken()
	tokens, _ := open(t, newTestLog().Logger, billing, audit)

	for name, test := range map[string]struct {
		header string
		reason access.Reason
	}{
		"nothing":        {"", access.Missing},
		"no token":       {"Bearer", access.Malformed},
		"empty token":    {"Bearer ", access.Malformed},
		"other scheme":   {"Basic " + first, access.Malformed},
		"no scheme":      {first, access.Malformed},
		"two tokens":     {"Bearer " + first + " " + second, access.Malformed},
		"short":          {"Bearer secret", access.Malformed},
		"long":           {"Bearer " + strings.Repeat("x", 513), access.Malformed},
		"other":          {"Bearer " + stranger, access.Unknown},
		"a part":         {"Bearer " + first[:len(first)-1], access.Unknown},
		"more than that": {"Bearer " + first + "x", access.Unknown},
		"its hash":       {"Bearer " + billing.SHA256, access.Unknown},
		"another case":   {"Bearer " + strings.ToUpper(first), access.Unknown},
	} {
		p, err := tokens.Authenticate([]byte(test.header), nil)

		assert.Equal(t, test.reason, reasonOf(t, err), name)
		assert.Nil(t, p, name)
	}
}

func TestTokens_NewTokenIsLongRandomAndHashed(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		token, hash := access.NewToken()

		require.Regexp(t, `^dq_[A-Za-z0-9_-]{43}$`, token)
		sum := sha256.Sum256([]byte(token))
		require.Equal(t, hex.EncodeToString(sum[:]), hash)
		require.False(t, seen[token])
		seen[token] = true
	}
}

func TestTokens_MissingOrWrongFileFailsTheStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")

	_, err := access.Open(path, newTestLog().Logger)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, path)

	require.NoError(t, os.WriteFile(path, []byte(`{"tokens":[{}]}`), 0o600))
	_, err = access.Open(path, newTestLog().Logger)
	assert.ErrorContains(t, err, path+":1: /tokens/0/name")
}

func TestTokens_ChangedFileIsLoadedUnlessWrong(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	first, a := entry(t, "a", "x=consume")
	second, b := entry(t, "b", "x=consume")
	tokens, path := open(t, log.Logger, a)
	known := func(token string) bool {
		_, err := tokens.Authenticate(header(token), nil)
		return err == nil
	}

	for name, write := range map[string]func(content []byte){
		"renamed over":       func(content []byte) { replace(t, path, content) },
		"written in place":   func(content []byte) { require.NoError(t, os.WriteFile(path, content, 0o600)) },
		"removed and remade": func(content []byte) { require.NoError(t, os.Remove(path)); replace(t, path, content) },
	} {
		change := func(content []byte, word string) {
			write(content)
			// Intermediate states, such as a half-written file, may be logged too.
			for line := ""; !strings.Contains(line, word); {
				line = log.next(t)
			}
		}

		change(encode(t, b), "loaded a change")
		assert.True(t, known(second), name)
		assert.False(t, known(first), name)

		change([]byte(`{"tokens":[{"name":"a"}]}`), path+`:1: token`)
		assert.True(t, known(second), "%s: what was loaded before stays in use", name)

		change(encode(t, a), "loaded a change")
		assert.True(t, known(first), name)
		assert.False(t, known(second), name)
	}
}

// Kubernetes keeps the files of a volume in a directory that a symbolic link points
// to, and changes them by renaming another link over that one.
func TestTokens_FileChangedThroughASymbolicLinkIsLoaded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	volume := func(version int, content []byte) {
		data := fmt.Sprintf("..v%d", version)
		require.NoError(t, os.Mkdir(filepath.Join(dir, data), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, data, "tokens.json"), content, 0o600))
		require.NoError(t, os.Symlink(data, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	_, before := entry(t, "a", "x=consume")
	token, after := entry(t, "a", "x=consume")
	volume(1, encode(t, before))
	path := filepath.Join(dir, "tokens.json")
	require.NoError(t, os.Symlink("..data/tokens.json", path))
	log := newTestLog()
	tokens, err := access.Open(path, log.Logger)
	require.NoError(t, err)
	defer tokens.Close()

	volume(2, encode(t, after))

	require.Contains(t, log.next(t), "loaded a change")
	_, err = tokens.Authenticate(header(token), nil)
	assert.NoError(t, err)
}

func TestTokens_ExpiredTokenIsRefused(t *testing.T) {
	t.Parallel()
	token, e := entry(t, "a", "x=consume")
	e.Expires = time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC) // ten seconds after the fake clock starts
	tokens, _ := open(t, newTestLog().Logger, e)

	synctest.Test(t, func(t *testing.T) {
		p, err := tokens.Authenticate(header(token), nil)
		require.NoError(t, err)

		time.Sleep(10*time.Second - 1)
		_, err = tokens.Renew(p)
		require.NoError(t, err)

		time.Sleep(time.Nanosecond)
		_, err = tokens.Authenticate(header(token), nil)
		assert.Equal(t, access.Expired, reasonOf(t, err))
		_, err = tokens.Renew(p)
		assert.Equal(t, access.Expired, reasonOf(t, err))
	})
}

func TestTokens_RenewReturnsTheChangedPrincipal(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	token, e := entry(t, "a", "x=consume")
	tokens, path := open(t, log.Logger, e)
	p, err := tokens.Authenticate(header(token), nil)
	require.NoError(t, err)

	e.Grants[0].Topics = "y"
	replace(t, path, encode(t, e))
	log.next(t)
	assert.True(t, p.Allows(access.Consume, "x"), "a principal does not change")
	p, err = tokens.Renew(p)
	require.NoError(t, err)
	assert.False(t, p.Allows(access.Consume, "x"))
	assert.True(t, p.Allows(access.Consume, "y"))

	_, e.SHA256 = access.NewToken()
	replace(t, path, encode(t, e))
	log.next(t)
	_, err = tokens.Renew(p)
	assert.Equal(t, access.Unknown, reasonOf(t, err), "the name is another token's")
}

func TestTokens_NoSecretIsLoggedOrReported(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	token, e := entry(t, "a", "x=consume")
	tokens, path := open(t, log.Logger, e)
	p, err := tokens.Authenticate(header(token), nil)
	require.NoError(t, err)

	log.Info("somebody logs the principal", "principal", p, "text", fmt.Sprintf("%v %+v %s", p, p, p))
	for _, wrong := range []string{token + "x", "Basic " + token, token + " " + token} {
		_, err := tokens.Authenticate(header(wrong), nil)
		log.Error("refused", "error", err)
	}
	audit, err := access.OpenAudit(filepath.Join(filepath.Dir(path), "audit"), log.Logger)
	require.NoError(t, err)
	require.NoError(t, audit.Close())
	audit.Record(access.Call{Principal: p.Name(), Operation: "DELETE /v1/topics/:topic"}) // fails, and is logged
	// A token in the place of its hash, in another field, and as the value of a field of its own.
	for _, mistake := range []string{
		`"sha256":"` + token + `"`,
		`"sha256":["` + token + `"]`,
		`"cert":"c","limits":{"max_topics":"` + token + `"}`,
		`"cert":"c","expires":"` + token + `"`,
		`"token":"` + token + `"`,
		`"sha256":"` + token,
	} {
		entry := `{"name":"a","grants":[{"topics":"*","scopes":["admin"]}],` + mistake + `}`
		replace(t, path, []byte(`{"tokens":[`+entry+`]}`))
		for !strings.Contains(log.next(t), "refused a change") {
		}
	}

	for _, secret := range []string{token, token[3:20], e.SHA256} {
		assert.NotContains(t, log.String(), secret)
	}
	assert.Contains(t, log.String(), "principal=a")
}

func BenchmarkAuthenticate(b *testing.B) {
	token, hash := access.NewToken()
	grant := access.Grant{Topics: "*", Scopes: []access.Scope{access.Consume}}
	file := access.File{Tokens: []access.Entry{{Name: "a", SHA256: hash, Grants: []access.Grant{grant}}}}
	data, err := file.Encode()
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "tokens.json")
	require.NoError(b, os.WriteFile(path, data, 0o600))
	tokens, err := access.Open(path, newTestLog().Logger)
	require.NoError(b, err)
	defer tokens.Close()
	authorization := header(token)
	for b.Loop() {
		if _, err := tokens.Authenticate(authorization, nil); err != nil {
			b.Fatal(err)
		}
	}
}
