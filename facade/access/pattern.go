package access

import "strings"

// Match reports whether pattern names topic. A "*" stands for any characters,
// none included; every other character stands for itself. There is no escape: a
// topic with a "*" in its name can only be named by a pattern that names others
// as well.
func Match(pattern, topic string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == topic
	}
	topic, ok := strings.CutPrefix(topic, head)
	for ok {
		var part string
		if part, rest, wild = strings.Cut(rest, "*"); !wild {
			return strings.HasSuffix(topic, part)
		}
		// The first place is as good as any: the "*" behind it takes the rest.
		_, topic, ok = strings.Cut(topic, part)
	}
	return false
}
