package test

import (
	"fmt"
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
		a.topic("T", "")
		a.produce("T", fmt.Sprintf(`[{"data":"good"},{"data_base64":"%s","key":"k.ü","content_type":"image/png","headers":{"h":"v"}},{"data":"good"}]`, "AP/+"))
		a.consumer("T", `{"name":"c","mode":"lease","start":"first","lease":"200ms","max_deliveries":2,"dead_letter_topic":"dead.T"}`)
		a.consumer("T", `{"name":"drops","mode":"lease","start":"first","max_deliveries":1}`)
		got := a.fetch("T", "c", "limit=10")
		a.settle("T", "c", "ack", []string{got[0].Token, got[2].Token}, "").is(http.StatusNoContent)
		got = a.fetch("T", "c", within)
		require.Len(t, got, 1)
		require.Equal(t, 2, got[0].Deliveries)
		require.Empty(t, a.browse("dead.T"))
		a.settle("T", "c", "nack", tokensOf(got), "").is(http.StatusNoContent)
		assert.Empty(t, a.fetch("T", "c", ""), "not a third time")
		assert.Zero(t, a.describe("T", "c").Size)
		a.settle("T", "c", "ack", tokensOf(got), "").refuses(http.StatusConflict, "lease_lost")

		dead := a.browse("dead.T")
		require.Len(t, dead, 1)
		assert.Equal(t, message{
			Sequence: 1, Time: dead[0].Time, Key: "k.ü", ContentType: "image/png", DataBase64: []byte("\x00\xff\xfe"),
			Headers: map[string]string{
				"h": "v", "Dq-Dead-Reason": "max_deliveries", "Dq-Dead-Topic": "T", "Dq-Dead-Sequence": "2",
				"Dq-Dead-Consumer": "c", "Dq-Dead-Deliveries": "2",
			},
		}, dead[0])

		got = a.fetch("T", "drops", "limit=10")
		a.settle("T", "drops", "nack", tokensOf(got), "").is(http.StatusNoContent)
		assert.Empty(t, a.fetch("T", "drops", "limit=10"))
		assert.Zero(t, a.describe("T", "drops").Size)
	})
}

func TestDeadLetter_FullTopicHoldsUpNoOtherMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.topic("D", `{"max_messages":1,"when_full":"refuse_new"}`)
	a.fill("D", 0, 1)
	a.fill("T", 0, 3)
	c := a.consumer("T", `{"mode":"lease","start":"first","max_deliveries":1,"dead_letter_topic":"D"}`)
	a.settle("T", c.ID, "nack", tokensOf(a.fetch("T", c.ID, "")), "").is(http.StatusNoContent)
	assert.Equal(t, numbers(1, 2), textsOf(a.fetch("T", c.ID, "limit=10")))
	p := a.post(path("T", "consumers", c.ID, "fetch"), "").refuses(http.StatusTooManyRequests, "topic_full")
	assert.Contains(t, p.Detail, "Topic:D")
	assert.EqualValues(t, 3, a.describe("T", c.ID).InFlight, "nothing is lost")
	poll := make(chan []string, 1)
	go func() { poll <- textsOf(a.fetch("T", c.ID, within)) }()
	a.fill("T", 3, 1)
	assert.Equal(t, numbers(3, 1), <-poll, "who waits gets what comes")
	a.del(path("D", "messages")).is(http.StatusOK)
	assert.Empty(t, a.fetch("T", c.ID, ""))
	assert.Equal(t, numbers(0, 1), textsOf(a.browse("D")))
}
