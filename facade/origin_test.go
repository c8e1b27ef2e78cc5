package facade

import (
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/valyala/fasthttp"

	"dq/facade/access"
)

// answersTo reports whether f answers a request with these headers, names and values in turn.
func answersTo(f *Facade, headers ...string) bool {
	app := fiber.New()
	request := &fasthttp.RequestCtx{}
	for i := 0; i < len(headers); i += 2 {
		request.Request.Header.Set(headers[i], headers[i+1])
	}
	c := app.AcquireCtx(request)
	defer app.ReleaseCtx(c)
	return f.knownHost(c)
}

func TestHost_BrowserMayUseOnlyNamesThatNobodyElseCanHave(t *testing.T) {
	t.Parallel()
	f := &Facade{hostname: "queue7.corp.example", opts: Options{CORSOrigins: "https://shop.example"}}

	for host, want := range map[string]bool{
		"192.0.2.7:5000":           true,
		"[2001:db8::7]:5000":       true,
		"localhost:5000":           true,
		"dq:5000":                  true, // a service of the same Compose file
		"queue7.corp.example:5000": true,
		"Queue7.corp.example.":     true,
		"printer.local":            true,
		"dq.svc.cluster.local":     true,
		"shop.example":             true, // which a setting names

		"evil.example:5000":                  false,
		"192.0.2.7.evil.example":             false,
		"localhost.evil.example":             false,
		"queue7.corp.example.evil.example":   false,
		"local.evil.example.":                false,
		"evil.example:5000:5000":             false,
		"[evil.example]:5000":                false,
		"2130706433.evil.example":            false,
		"evil.example#queue7.corp.example":   false,
		"evil.example@queue7.corp.example.x": false,
	} {
		got := answersTo(f, "Host", host, "User-Agent", "Mozilla/5.0")

		assert.Equal(t, want, got, host)
	}
}

func TestHost_ProgramsMayUseAnyNameBeyondThisMachine(t *testing.T) {
	t.Parallel()
	f, local := &Facade{}, &Facade{local: true}
	host := []string{"Host", "queue.example"}

	for _, program := range [][]string{
		{},
		{"User-Agent", "curl/8.5.0", "Accept", "*/*"},
		{"User-Agent", "node", "Accept-Language", "*", "Sec-Fetch-Mode", "cors"},
	} {
		assert.True(t, answersTo(f, append(host, program...)...), "%v", program)
		assert.False(t, answersTo(local, append(host, program...)...), "on a loopback address no client may: %v", program)
	}
	for _, browser := range [][]string{
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"},
		{"User-Agent", "x", "Accept-Language", ""},
		{"User-Agent", "x", "Origin", "http://queue.example"},
		{"User-Agent", "x", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"},
	} {
		assert.False(t, answersTo(f, append(host, browser...)...), "%v", browser)
	}
}

func TestHost_IsNotCheckedWhereAPageCanDoNothing(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"tokens":      {Tokens: &access.Tokens{}},
		"all origins": {CORSOrigins: "*"},
		"TLS":         {TLS: &access.TLS{}},
	} {
		assert.True(t, answersTo(&Facade{opts: opts}, "Host", "evil.example", "User-Agent", "Mozilla/5.0"), name)
	}
}
