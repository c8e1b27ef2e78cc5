// Package decode reads what clients send: JSON bodies, parameters of the path and
// of the query. What is wrong it reports with an error for the client to read, which
// names the field.
//
// The files: json.go has the strict JSON decoder, fastjson.go a faster one for
// simple objects, path.go and query.go the parameters, errors.go the errors.
package decode
