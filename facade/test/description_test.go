package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/content"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/facade/openapi"
)

// description is the API's description, which is valid itself.
var description = sync.OnceValues(func() (validator.Validator, error) {
	document, err := libopenapi.NewDocument(openapi.YAML)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(document, config.WithBodyDecoder("application/x-ndjson",
		content.DecoderFunc(func(*content.DecodeInput) (any, error) { return "", nil })))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	if valid, errs := v.ValidateDocument(); !valid {
		return nil, fmt.Errorf("the description is not valid: %v", errs[0])
	}
	return v, nil
})

// describing is held while the description is in use.
var describing sync.Mutex

// described fails unless an answer is as the description says and, if it is a
// success, the request too.
func described(t testing.TB, request *http.Request, body string, r response) {
	t.Helper()
	v, err := description()
	require.NoError(t, err)
	plain := request.Clone(context.Background())
	plain.URL.Path, plain.URL.RawPath = plainPath(request.URL.EscapedPath()), ""
	plain.Body = io.NopCloser(strings.NewReader(body))
	header := r.header.Clone()
	if raw := request.URL.Query().Get("raw") == "true"; raw || !strings.Contains(plain.Header.Get("Content-Type"), "json") {
		// It is bytes to the API, even if it is JSON to others.
		if request.Method == http.MethodPost && strings.HasSuffix(plain.URL.Path, "/messages") {
			plain.Header.Set("Content-Type", "application/octet-stream")
		}
		if raw && r.status == http.StatusOK {
			header.Set("Content-Type", "application/octet-stream")
		}
	}
	answer := &http.Response{StatusCode: r.status, Header: header, Body: io.NopCloser(strings.NewReader(r.body)), Request: plain}
	describing.Lock()
	defer describing.Unlock()
	if valid, errs := v.ValidateHttpResponse(plain, answer); !valid {
		t.Errorf("%s %s: the answer %d %.1000s is not as described: %v", request.Method, request.URL, r.status, r.body, errs)
	}
	if r.status >= 300 || len(body) > 100_000 { // the validator takes its time
		return
	}
	if valid, errs := v.ValidateHttpRequestSync(plain); !valid {
		t.Errorf("%s %s %.1000s is not as described: %v", request.Method, request.URL, body, errs)
	}
}

// plainPath is a path with plain names in place of those of the topic and the
// consumer, which the validator would take apart.
func plainPath(escaped string) string {
	parts := strings.Split(escaped, "/")
	if len(parts) > 3 && parts[3] != "" {
		parts[3] = "t"
	}
	if len(parts) > 5 && parts[4] == "consumers" && parts[5] != "" {
		parts[5] = "c"
	}
	return strings.Join(parts, "/")
}

// describedAs fails unless text is what the description says of the answer to
// a GET of path.
func describedAs(t testing.TB, path string, status int, text string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://dq"+path, nil)
	require.NoError(t, err)
	kind := "application/json"
	if status >= 400 {
		kind = "application/problem+json"
	}
	described(t, request, "", response{t, status, http.Header{"Content-Type": {kind}}, text})
}

func TestDescription_IsServedWithAPageThatNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	get := func(path string) response {
		answer, err := a.client.Do(a.request(t.Context(), http.MethodGet, path, ""))
		require.NoError(t, err)
		defer answer.Body.Close()
		return readAll(t, answer).is(http.StatusOK)
	}
	assert.Equal(t, string(openapi.YAML), get("/openapi.yaml").body)
	page := get("/docs/")
	assert.Contains(t, page.header.Get("Content-Type"), "text/html")
	assert.Contains(t, page.body, "/openapi.yaml")
	assets := regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(page.body, -1)
	assert.NotEmpty(t, assets)
	for _, asset := range assets {
		assert.False(t, strings.Contains(asset[1], "//"), "%s is elsewhere", asset[1])
		assert.NotEmpty(t, get(asset[1]).body)
	}
}
