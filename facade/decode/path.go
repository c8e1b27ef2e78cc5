package decode

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
)

// PathParameter returns a parameter of the path, without its percent-encoding. It
// may be used after the request has ended. Errors: [*FieldError].
func PathParameter(c *fiber.Ctx, name string) (string, error) {
	text, err := url.PathUnescape(c.Params(name))
	if err != nil || !utf8.ValidString(text) {
		return "", &FieldError{Field: name, Problem: "the path is not percent-encoded UTF-8"}
	}
	// A copy: PathUnescape may return a part of the request, which ends with it.
	return strings.Clone(text), nil
}
