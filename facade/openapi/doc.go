// Package openapi holds the description of the HTTP API, which the broker serves
// at /openapi.yaml. It is written by hand; tests fail if it lacks a route,
// parameter or error code of the broker, or if an answer does not match it.
package openapi

import _ "embed"

// YAML is the description, in the format of OpenAPI 3.1.
//
//go:embed openapi.yaml
var YAML []byte
