package test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/facade/openapi"
)

func TestTheDescriptionIsServedWithAPageThatNeedsNoNetwork(t *testing.T) {
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
