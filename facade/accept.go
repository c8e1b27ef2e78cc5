package facade

import (
	"bytes"
	"cmp"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// A mediaRange is one element of an Accept header, such as text/* or application/json;q=0.5.
type mediaRange struct {
	name    string // in lower case
	quality float64
}

// accepted returns which of the media types the client prefers, or "" if it takes none. It compares them without regard
// to case and to parameters such as charset. Several Accept headers count as one; without any, the first type is it.
func accepted(c *fiber.Ctx, types ...string) string {
	headers := c.Request().Header.PeekAll(fiber.HeaderAccept)
	text := string(bytes.Join(headers, []byte(",")))
	if text == "" {
		return types[0]
	}

	for _, r := range mediaRanges(text) {
		if i := slices.IndexFunc(types, r.matches); i >= 0 {
			return types[i]
		}
	}
	return ""
}

// mediaRanges returns the elements of an Accept header that are acceptable, the preferred ones first. It leaves out
// elements that are not valid.
func mediaRanges(header string) []mediaRange {
	var ranges []mediaRange
	for element := range strings.SplitSeq(header, ",") {
		name, parameters, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		r := mediaRange{name: name, quality: 1}
		if q, ok := parameters["q"]; ok {
			r.quality, _ = strconv.ParseFloat(q, 64) // 0 if it cannot be read
		}
		if r.quality > 0 {
			ranges = append(ranges, r)
		}
	}

	slices.SortStableFunc(ranges, func(a, b mediaRange) int {
		return cmp.Or(cmp.Compare(b.quality, a.quality), cmp.Compare(a.wildcards(), b.wildcards()))
	})
	return ranges
}

// wildcards returns how many parts of the range may be anything: 0 is the most specific.
func (r mediaRange) wildcards() int { return strings.Count(r.name, "*") }

// matches reports whether a media type is in the range.
func (r mediaRange) matches(mediaType string) bool {
	if r.name == "*/*" || r.name == "*" {
		return true
	}
	if class, ok := strings.CutSuffix(r.name, "*"); ok {
		return strings.HasPrefix(mediaType, class)
	}
	return r.name == mediaType
}
