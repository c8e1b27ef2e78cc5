package decode

import "fmt"

// SyntaxError is a body that is not the JSON that the call takes.
type SyntaxError struct{ Problem string }

func (e *SyntaxError) Error() string { return "the body is not valid JSON for this call: " + e.Problem }

// MissingFieldError is a field or parameter that the call needs and did not get.
type MissingFieldError struct{ Field string }

func (e *MissingFieldError) Error() string { return fmt.Sprintf("missing field %q", e.Field) }

// FieldError is a field or parameter of a wrong type or value.
type FieldError struct {
	Field   string
	Problem string // such as "want an integer from 1 to 10, not 11"
}

func (e *FieldError) Error() string { return fmt.Sprintf("invalid field %q: %s", e.Field, e.Problem) }

// TooLongError is a list with more values than it may have.
type TooLongError struct{ Limit int }

func (e *TooLongError) Error() string { return fmt.Sprintf("want at most %d", e.Limit) }
