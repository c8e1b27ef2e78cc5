package test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestCORS_EveryOriginIsAllowedUnlessConfigured(t *testing.T) {
	t.Parallel()
	for origins, want := range map[string]string{"*": "*", "https://a.example": "https://a.example", "none": ""} {
		cfg := brokertest.Config("")
		require.NoError(t, cfg.CORSOrigins.Decode(origins))
		c := startClassic(t, cfg)

		for _, method := range []string{http.MethodOptions, http.MethodGet} {
			request, err := http.NewRequest(method, c.url+"/topics", nil)
			require.NoError(t, err)
			request.Header.Set("Origin", "https://a.example")
			request.Header.Set("Access-Control-Request-Method", "POST")
			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())

			assert.Equal(t, want, response.Header.Get("Access-Control-Allow-Origin"), "%s with %s", method, origins)
		}
	}
}

func TestCORS_BrowserSeesTheHeadersOfARawMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 1)

	r := a.do(http.MethodGet, path("T", "messages", 1)+"?raw=true", "", "Origin", "https://a.example")

	r.is(http.StatusOK)
	assert.Equal(t, "*", r.header.Get("Access-Control-Expose-Headers"))
}
