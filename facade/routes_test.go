package facade

import (
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/pb33f/libopenapi"
	"github.com/stretchr/testify/assert"

	"dq/facade/openapi"
)

func init() { heartbeat = 700 * time.Millisecond } // no test wants to wait for one of the real length

func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	var routes, described []string
	for _, r := range New(&Queue{}, nil, Options{}).app.GetRoutes(true) {
		if r.Path == descriptionPath || strings.HasPrefix(r.Path, docsPath) {
			continue // the description itself
		}
		parts := strings.Split(r.Path, "/")
		for i, part := range parts {
			if name, found := strings.CutPrefix(part, ":"); found {
				parts[i] = "{" + name + "}"
			}
		}
		routes = append(routes, r.Method+" "+strings.Join(parts, "/"))
	}
	document, err := libopenapi.NewDocument(openapi.YAML)
	if !assert.NoError(t, err) {
		return
	}
	model, err := document.BuildV3Model()
	if !assert.NoError(t, err) {
		return
	}
	ids := make(map[string]bool)
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			described = append(described, strings.ToUpper(method)+" "+path)
			assert.NotEmpty(t, operation.Summary, "%s %s", method, path)
			assert.NotEmpty(t, operation.OperationId, "%s %s", method, path)
			assert.False(t, ids[operation.OperationId], operation.OperationId)
			ids[operation.OperationId] = true
			// What the path has in braces has to be a parameter.
			names := make(map[string]bool)
			for _, p := range append(item.Parameters, operation.Parameters...) {
				if p.In == "path" {
					names["{"+p.Name+"}"] = true
				}
			}
			for part := range strings.SplitSeq(path, "/") {
				assert.Equal(t, strings.HasPrefix(part, "{"), names[part], "%s %s: %s", method, path, part)
			}
		}
	}
	assert.ElementsMatch(t, routes, described)
	assert.Contains(t, described, fiber.MethodPost+" /v1/topics/{topic}/messages")
}
