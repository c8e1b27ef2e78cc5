// Package decode reads what clients send: JSON bodies, and parameters of the path and
// of the query. Its errors are written for the client, and name the wrong field.
//
// The files: json.go has the strict JSON decoder, fastjson.go a faster one for
// simple objects, path.go and query.go the parameters, errors.go the errors.
package decode
