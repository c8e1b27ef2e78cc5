package test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestDeadLetter_MessageDeliveredTooOftenIsMoved(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		bad := object{
			"data_base64": []byte("\x00\xff\xfe"), "key": "k.ü", "content_type": "image/png",
			"headers": object{"h": "v"},
		}
		a.produce("T", []object{{"data": "good"}, bad, {"data": "good"}})
		a.register("T", object{
			"name": "c", "mode": "lease", "start": "first", "lease": "200ms",
			"max_deliveries": 2, "dead_letter_topic": "dead.T",
		})
		c := a.consumer("T", "c")
		got := c.fetch("limit=10")
		c.ack([]string{got[0].Token, got[2].Token}).is(http.StatusNoContent)
		got = c.fetch(within)
		require.Len(t, got, 1)
		require.Equal(t, 2, got[0].Deliveries)
		require.Empty(t, a.browse("dead.T"))

		c.nack(tokensOf(got), 0).is(http.StatusNoContent)

		assert.Empty(t, c.fetch(), "not a third time")
		assert.Zero(t, c.describe().Size)
		c.ack(tokensOf(got)).refuses(http.StatusConflict, "lease_lost")

		dead := a.browse("dead.T")
		require.Len(t, dead, 1)
		assert.Equal(t, message{
			Sequence: 1, Time: dead[0].Time, Key: "k.ü", ContentType: "image/png", DataBase64: []byte("\x00\xff\xfe"),
			Headers: map[string]string{
				"h": "v", "Dq-Dead-Reason": "max_deliveries", "Dq-Dead-Topic": "T", "Dq-Dead-Sequence": "2",
				"Dq-Dead-Consumer": "c", "Dq-Dead-Deliveries": "2",
			},
		}, dead[0])
	})
}

func TestDeadLetter_MessageIsDroppedWithoutATopic(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		a.fill("T", 0, 3)
		a.register("T", object{"name": "drops", "mode": "lease", "start": "first", "max_deliveries": 1})
		c := a.consumer("T", "drops")
		got := c.fetch("limit=10")

		c.nack(tokensOf(got), 0).is(http.StatusNoContent)

		assert.Empty(t, c.fetch("limit=10"))
		assert.Zero(t, c.describe().Size)
	})
}

func TestDeadLetter_FullTopicHoldsUpNoOtherMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("D", object{"max_messages": 1, "when_full": "refuse_new"})
	a.fill("D", 0, 1)
	a.fill("T", 0, 3)
	c := a.register("T", object{"mode": "lease", "start": "first", "max_deliveries": 1, "dead_letter_topic": "D"})

	c.nack(tokensOf(c.fetch()), 0).is(http.StatusNoContent)

	assert.Equal(t, numbers(1, 2), textsOf(c.fetch("limit=10")))
	p := c.post("fetch", nil).refuses(http.StatusTooManyRequests, "topic_full")
	assert.Contains(t, p.Detail, "Topic:D")
	assert.EqualValues(t, 3, c.describe().InFlight, "nothing is lost")

	poll := make(chan []string, 1)
	go func() { poll <- textsOf(c.fetch(within)) }()
	a.fill("T", 3, 1)

	assert.Equal(t, numbers(3, 1), <-poll, "a poll that waits gets what is produced")

	a.purge("D")

	assert.Empty(t, c.fetch())
	assert.Equal(t, numbers(0, 1), textsOf(a.browse("D")))
}
