package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/pb33f/libopenapi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade"
	"dq/facade/openapi"
)

func TestErrorCodes_BrokerDescriptionAndSDKHaveTheSame(t *testing.T) {
	t.Parallel()

	broker, described, exported := facade.ErrorCodes(), describedCodes(t), exportedCodes(t)

	assert.Equal(t, broker, described, "components/schemas/ErrorCode of openapi.yaml")
	assert.Equal(t, broker, exported, "the variables Err... of sdk/errors.go")
}

// describedCodes returns the error codes of the description, sorted.
func describedCodes(t *testing.T) (codes []string) {
	t.Helper()
	document, err := libopenapi.NewDocument(openapi.YAML)
	require.NoError(t, err)
	model, err := document.BuildV3Model()
	require.NoError(t, err)

	for _, node := range model.Model.Components.Schemas.GetOrZero("ErrorCode").Schema().Enum {
		codes = append(codes, node.Value)
	}
	slices.Sort(codes)
	return codes
}

// exportedCodes returns the error codes for which the sdk exports a variable, as in
// ErrEmpty = &Error{Code: "empty"}, sorted.
func exportedCodes(t *testing.T) (codes []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../sdk/errors.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)

	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if code, ok := codeOf(spec); ok && spec.Names[0].IsExported() {
			codes = append(codes, code)
		}
		return false
	})
	slices.Sort(codes)
	return codes
}

// codeOf returns the code of a variable that is set to &Error{Code: "..."}.
func codeOf(spec *ast.ValueSpec) (code string, ok bool) {
	if len(spec.Values) != 1 {
		return "", false
	}
	address, ok := spec.Values[0].(*ast.UnaryExpr)
	if !ok {
		return "", false
	}
	literal, ok := address.X.(*ast.CompositeLit)
	if !ok || len(literal.Elts) != 1 {
		return "", false
	}

	field := literal.Elts[0].(*ast.KeyValueExpr)
	code, err := strconv.Unquote(field.Value.(*ast.BasicLit).Value)
	return code, err == nil
}
