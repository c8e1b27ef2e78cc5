package facade

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/pb33f/libopenapi"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/openapi"
	"dq/facade/service"
)

func TestRoutes_DescriptionHasEveryRouteAndNoOther(t *testing.T) {
	t.Parallel()
	f := New(&service.Service{}, nil, Options{})

	var routes []string
	for _, r := range f.app.GetRoutes(true) {
		if r.Path == descriptionPath || strings.HasPrefix(r.Path, docsPath) {
			continue // the description itself
		}
		if r.Method == fiber.MethodHead || strings.HasSuffix(r.Path, "/") {
			continue // GET without a body, and what old clients may write for the same path
		}
		routes = append(routes, r.Method+" "+asDescribed(r.Path))
	}
	var described []string
	for _, o := range describedOperations(t) {
		described = append(described, o.call)
	}

	assert.ElementsMatch(t, routes, described)
	assert.Contains(t, described, fiber.MethodPost+" /v1/topics/{topic}/messages")
}

func TestRoutes_DescriptionHasEachParameter(t *testing.T) {
	t.Parallel()
	f := New(&service.Service{}, nil, Options{})
	queries := make(map[string][]string)
	for _, r := range f.v1Routes() {
		queries[r.method+" "+asDescribed(r.path)] = r.query
	}

	for _, o := range describedOperations(t) {
		if taken, ok := queries[o.call]; ok {
			assert.ElementsMatch(t, taken, o.query, o.call)
		}
		for part := range strings.SplitSeq(o.path, "/") {
			assert.Equal(t, strings.HasPrefix(part, "{"), o.inPath[part], "%s: %s", o.call, part)
		}
	}
}

func TestRoutes_DescriptionNamesEachOperation(t *testing.T) {
	t.Parallel()
	ids := make(map[string]bool)

	for _, o := range describedOperations(t) {
		assert.NotEmpty(t, o.summary, o.call)
		assert.NotEmpty(t, o.id, o.call)
		assert.False(t, ids[o.id], o.id)
		ids[o.id] = true
	}
}

func TestRoutes_ThoseThatChangeSomethingMutate(t *testing.T) {
	t.Parallel()
	f := New(&service.Service{}, nil, Options{})

	for _, r := range append(f.classicRoutes(), f.v1Routes()...) {
		changes := r.method != fiber.MethodGet || r.path == "/consumer/consume"
		assert.Equal(t, changes, r.mutates, "%s %s", r.method, r.path)
		assert.Equal(t, strings.Contains(r.path, "/:topic"), r.topicInPath, "%s %s", r.method, r.path)
	}
}

// describedOperation is what the description says of one call.
type describedOperation struct {
	call        string // such as "GET /v1/topics/{topic}"
	path        string
	id, summary string
	query       []string
	inPath      map[string]bool // such as "{topic}"
}

// describedOperations returns the calls in the description.
func describedOperations(t *testing.T) (operations []describedOperation) {
	t.Helper()
	document, err := libopenapi.NewDocument(openapi.YAML)
	require.NoError(t, err)
	model, err := document.BuildV3Model()
	require.NoError(t, err)

	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			o := describedOperation{
				call:    strings.ToUpper(method) + " " + path,
				path:    path,
				id:      operation.OperationId,
				summary: operation.Summary,
				inPath:  make(map[string]bool),
			}
			o.addParameters(item.Parameters)
			o.addParameters(operation.Parameters)
			operations = append(operations, o)
		}
	}
	return operations
}

func (o *describedOperation) addParameters(parameters []*v3.Parameter) {
	for _, p := range parameters {
		switch p.In {
		case "path":
			o.inPath["{"+p.Name+"}"] = true
		case "query":
			o.query = append(o.query, p.Name)
		}
	}
}

// asDescribed returns a route's path as the description writes it.
func asDescribed(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, found := strings.CutPrefix(part, ":"); found {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}
