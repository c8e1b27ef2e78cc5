package jetstream

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// streamCreated starts the subject on which the engine says that it created a stream.
const streamCreated = "$JS.EVENT.ADVISORY.STREAM.CREATED."

// OnTopicCreated calls created with the name of each topic that any process creates on the engine from now on, until
// the subscription ends.
func OnTopicCreated(nc *nats.Conn, created func(topic string)) (*nats.Subscription, error) {
	sub, err := nc.Subscribe(streamCreated+"*", func(m *nats.Msg) {
		if topic, ok := topicOf(strings.TrimPrefix(m.Subject, streamCreated)); ok {
			created(topic)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to the topics that are created: %w", err)
	}
	return sub, nil
}
