package traffic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"dq/cmd/dq/verify/history"
)

// topicList is the answer to a call that lists topics.
type topicList struct{ Topics []struct{ Name string } }

func (l *topicList) decode(_ *history.Op, body []byte) error { return json.Unmarshal(body, l) }

// DeleteTopics deletes all topics whose name has the prefix. A round has deleted
// its own, but a call of unknown outcome may create one again after that. It
// fails when the brokers do not answer for longer than the patience of the options.
func (c *Client) DeleteTopics(prefix string) error {
	w := (&round{Client: c}).worker("sweeper")
	var list topicList
	w.retry("the topics are listed", func() *history.Op {
		return w.do(w.newOp("list topics"), request{
			method: http.MethodGet, path: "/v1/topics?prefix=" + url.QueryEscape(prefix), decode: list.decode,
		})
	})

	for _, topic := range list.Topics {
		if !strings.HasPrefix(topic.Name, prefix) {
			continue
		}
		w.retry("the topic is deleted", func() *history.Op { return w.topicCall(history.OpDeleteTopic, topic.Name) })
	}
	if w.gaveUp.Load() {
		return fmt.Errorf("no answer for %s: topics with the prefix %s may be left, delete them later",
			c.opts.Patience, prefix)
	}
	return nil
}
