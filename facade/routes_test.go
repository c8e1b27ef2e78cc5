package facade

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/pb33f/libopenapi"
	"github.com/stretchr/testify/assert"

	"dq/facade/openapi"
	"dq/facade/service"
)

func TestTheDescriptionHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	var routes, described []string
	f := New(&service.Service{}, nil, Options{})
	queries := make(map[string][]string)
	for _, r := range f.v1Routes() {
		queries[r.method+" "+asDescribed(r.path)] = r.query
	}
	for _, r := range f.app.GetRoutes(true) {
		if r.Path == descriptionPath || strings.HasPrefix(r.Path, docsPath) {
			continue // the description itself
		}
		if r.Method == fiber.MethodHead {
			continue // GET without a body
		}
		routes = append(routes, r.Method+" "+asDescribed(r.Path))
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
			var query []string
			for _, p := range append(item.Parameters, operation.Parameters...) {
				switch p.In {
				case "path":
					names["{"+p.Name+"}"] = true
				case "query":
					query = append(query, p.Name)
				}
			}
			if taken, ok := queries[strings.ToUpper(method)+" "+path]; ok {
				assert.ElementsMatch(t, taken, query, "%s %s", method, path)
			}
			for part := range strings.SplitSeq(path, "/") {
				assert.Equal(t, strings.HasPrefix(part, "{"), names[part], "%s %s: %s", method, path, part)
			}
		}
	}
	assert.ElementsMatch(t, routes, described)
	assert.Contains(t, described, fiber.MethodPost+" /v1/topics/{topic}/messages")
}

// asDescribed is a route's path as the description writes it.
func asDescribed(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, found := strings.CutPrefix(part, ":"); found {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}
