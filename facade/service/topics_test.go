package service

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/jetstream"
)

func TestPage_HasTopicsByNameWithPrefixAfterAName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
		more          bool
	}{
		{prefix: "", after: "", limit: 9, want: []string{"a1", "a2", "a3", "b"}, more: false},
		{prefix: "", after: "", limit: 4, want: []string{"a1", "a2", "a3", "b"}, more: false},
		{prefix: "", after: "", limit: 3, want: []string{"a1", "a2", "a3"}, more: true},
		{prefix: "a", after: "a1", limit: 1, want: []string{"a2"}, more: true},
		{prefix: "a", after: "a2", limit: 1, want: []string{"a3"}, more: false},
		{prefix: "a", after: "a3", limit: 1, want: nil, more: false},
		{prefix: "c", after: "", limit: 1, want: nil, more: false},
	} {
		topics := []jetstream.Topic{{Name: "b"}, {Name: "a3"}, {Name: "a1"}, {Name: "a2"}}

		page, more := Page(topics, c.prefix, c.after, c.limit)

		var names []string
		for _, topic := range page {
			names = append(names, topic.Name)
		}
		assert.Equal(t, c.want, names, "%+v", c)
		assert.Equal(t, c.more, more, "%+v", c)
	}
}
