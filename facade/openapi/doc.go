// Package openapi holds the description of the HTTP API, which the broker
// serves as it is. It is written by hand, and a test fails when a route is not
// in it, or an answer is not as it says.
package openapi

import _ "embed"

// YAML is the description, in OpenAPI 3.1.
//
//go:embed openapi.yaml
var YAML []byte
