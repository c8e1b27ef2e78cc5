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

// largestChecked is the length in bytes of the largest request that is checked against the description: the validator
// takes seconds for larger ones.
const largestChecked = 100_000

// description is the OpenAPI description, which is checked too.
var description = sync.OnceValues(func() (validator.Validator, error) {
	document, err := libopenapi.NewDocument(openapi.YAML)
	if err != nil {
		return nil, err
	}

	noCheck := content.DecoderFunc(func(*content.DecodeInput) (any, error) { return "", nil })
	v, errs := validator.NewValidator(document, config.WithBodyDecoder("application/x-ndjson", noCheck))
	if len(errs) > 0 {
		return nil, errs[0]
	}

	if valid, errs := v.ValidateDocument(); !valid {
		return nil, fmt.Errorf("the description is not valid: %w", errs[0])
	}
	return v, nil
})

// describing is held while the description is in use: a validator is not safe for concurrent use.
var describing sync.Mutex

// described fails the test unless an answer is as the description says and, if it is a success, the request too. Body
// is the request's.
func described(t testing.TB, request *http.Request, body string, r response) {
	t.Helper()
	v, err := description()
	require.NoError(t, err)

	plain, answer := asDescribed(request, body, r)
	describing.Lock()
	defer describing.Unlock()

	if valid, errs := v.ValidateHttpResponse(plain, answer); !valid {
		t.Errorf("%s %s: the answer %d %.1000s is not as described: %v",
			request.Method, request.URL, r.status, r.body, errs)
	}
	if r.status >= 300 || len(body) > largestChecked {
		return
	}
	if valid, errs := v.ValidateHttpRequestSync(plain); !valid {
		t.Errorf("%s %s %.1000s is not as described: %v", request.Method, request.URL, body, errs)
	}
}

// asDescribed returns a request and its answer in the form that the validator understands.
func asDescribed(request *http.Request, body string, r response) (*http.Request, *http.Response) {
	plain := request.Clone(context.Background())
	plain.URL.Path, plain.URL.RawPath = plainPath(request.URL.EscapedPath()), ""
	plain.Body = io.NopCloser(strings.NewReader(body))
	header := r.header.Clone()

	// A raw message is bytes to the API, even if its content type says JSON.
	raw := request.URL.Query().Get("raw") == "true"
	if raw || !strings.Contains(plain.Header.Get("Content-Type"), "json") {
		if request.Method == http.MethodPost && strings.HasSuffix(plain.URL.Path, "/messages") {
			plain.Header.Set("Content-Type", "application/octet-stream")
		}
		if raw && r.status == http.StatusOK {
			header.Set("Content-Type", "application/octet-stream")
		}
	}

	return plain, &http.Response{
		StatusCode: r.status,
		Header:     header,
		Body:       io.NopCloser(strings.NewReader(r.body)),
		Request:    plain,
	}
}

// plainPath returns an escaped path with "t" and "c" in place of the names of the topic and the consumer. The validator
// would take names with slashes apart.
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

// describedMessage fails the test unless text is a message as the description has it.
func describedMessage(t testing.TB, text string) {
	t.Helper()
	describedAs(t, path("t", "messages", 1), response{
		t:      t,
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"application/json"}},
		body:   text,
	})
}

// describedProblem fails the test unless text is a failure as the description has it.
func describedProblem(t testing.TB, text string) {
	t.Helper()
	describedAs(t, path("t"), response{
		t:      t,
		status: http.StatusNotFound,
		header: http.Header{"Content-Type": {"application/problem+json"}},
		body:   text,
	})
}

// describedAs fails the test unless r is what the description says of the answer to a GET of path.
func describedAs(t testing.TB, path string, r response) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://dq"+path, nil)
	require.NoError(t, err)
	described(t, request, "", r)
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

	description, page := get("/openapi.yaml"), get("/docs/")

	assert.Equal(t, string(openapi.YAML), description.body)
	assert.Contains(t, page.header.Get("Content-Type"), "text/html")
	assert.Contains(t, page.body, "/openapi.yaml")

	assets := regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(page.body, -1)
	assert.NotEmpty(t, assets)
	for _, asset := range assets {
		assert.False(t, strings.Contains(asset[1], "//"), "%s is elsewhere", asset[1])
		assert.NotEmpty(t, get(asset[1]).body)
	}
}
