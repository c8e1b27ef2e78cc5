package test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

// redriven is what a redrive has done.
type redriven struct {
	Redriven int
	Failed   []redriveFailure
	Left     uint64
	Next     uint64
}

type redriveFailure struct {
	Topic        string
	Messages     int
	Code, Detail string
}

// redrive puts dead letters of a topic back, with the fields of query if there is one.
func (a api) redrive(topic string, query ...object) (out redriven) {
	a.t.Helper()
	a.post(path(topic, "redrive"), firstOf(query)).is(http.StatusOK).into(&out)
	return out
}

// deadLetters produces messages to topic, and has a consumer of that name make dead letters of them.
func (a api) deadLetters(topic, consumer, dead string, messages ...object) {
	a.t.Helper()
	a.register(topic, object{
		"name": consumer, "mode": "lease", "start": "new", "max_deliveries": 1, "dead_letter_topic": dead,
	})
	a.produce(topic, messages)
	c := a.consumer(topic, consumer)
	c.nack(tokensOf(c.fetch("limit=100", within)), 0).is(http.StatusNoContent)
}

func TestRedrive_DeadLettersGoBackToWhereTheyCameFrom(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("A")
		a.createTopic("B")
		a.deadLetters("A", "a", "D",
			object{"data_base64": []byte{0, 255}, "key": "k.ü", "content_type": "image/png", "headers": object{"h": "v"}},
			object{"data": "2"})
		a.produce("D", object{"data": "no dead letter"})
		a.deadLetters("B", "b", "D", object{"data": "3"})

		first := a.redrive("D", object{"limit": 2})
		rest := a.redrive("D", object{"limit": 2, "from": first.Next})

		assert.Equal(t, redriven{Redriven: 2, Left: 2, Next: 3}, first)
		assert.Equal(t, redriven{Redriven: 1}, rest)
		assert.Equal(t, []string{"no dead letter"}, textsOf(a.browse("D")))
		back := a.browse("A", "from=3")
		require.Len(t, back, 2)
		assert.Equal(t, message{
			Sequence: 3, Time: back[0].Time, Key: "k.ü", ContentType: "image/png", DataBase64: []byte{0, 255},
			Headers: map[string]string{"h": "v"},
		}, back[0])
		assert.Equal(t, "2", back[1].text())
		assert.Equal(t, []string{"3"}, textsOf(a.consumer("B", "b").fetch()), "its consumer gets it again")
		assert.Equal(t, redriven{}, a.redrive("D"))
	})
}

func TestRedrive_MessagesThatNoTopicTakesStay(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for _, topic := range []string{"gone", "full", "good"} {
		a.createTopic(topic)
		a.deadLetters(topic, "c", "D", object{"data": topic}, object{"data": topic})
	}
	a.del(path("gone")).is(http.StatusNoContent)
	a.patch(path("full"), object{"max_messages": 2, "when_full": "refuse_new"}).is(http.StatusOK)

	got := a.redrive("D")

	for i := range got.Failed {
		got.Failed[i].Detail = ""
	}
	assert.Equal(t, redriven{Redriven: 2, Failed: []redriveFailure{
		{Topic: "full", Messages: 2, Code: "topic_full"}, {Topic: "gone", Messages: 2, Code: "topic_not_found"},
	}}, got)
	assert.Equal(t, []string{"gone", "gone", "full", "full"}, textsOf(a.browse("D")))

	assert.Equal(t, redriven{Redriven: 4}, a.redrive("D", object{"to": "good"}))
	assert.Empty(t, a.browse("D"))
}

func TestRedrive_OnlyThoseThatAreAskedFor(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("other")
	a.deadLetters("T", "one", "D", object{"data": "1"})
	a.deadLetters("T", "two", "D", object{"data": "2"})

	assert.Zero(t, a.redrive("D", object{"reason": "rejected"}).Redriven)
	assert.Equal(t, 1, a.redrive("D", object{"consumer": "two", "reason": "max_deliveries", "to": "other"}).Redriven)

	assert.Equal(t, []string{"2"}, textsOf(a.browse("other")))
	assert.Equal(t, []string{"1"}, textsOf(a.browse("D")))
	a.post(path("D", "redrive"), object{"to": "D"}).refuses(http.StatusBadRequest, "invalid_field")
	a.post(path("D", "redrive"), object{"to": "none"}).refuses(http.StatusNotFound, "topic_not_found")
	a.post(path("none", "redrive"), nil).refuses(http.StatusNotFound, "topic_not_found")
}

func TestRedrive_NeedsRightsOnBothTopics(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{
		"root":   everyScope,
		"clerk":  "*=admin,consume",
		"reader": "*=consume,produce",
		"mover":  "*=admin,produce",
		"owner":  "D*=admin,consume,produce",
	})
	g.put("root", path("T"), nil)
	g.post("root", path("T", "consumers"), object{
		"name": "c", "mode": "lease", "start": "first", "max_deliveries": 1, "dead_letter_topic": "D",
	})
	g.post("root", path("T", "messages"), object{"data": "x"})
	fetched := g.post("root", path("T", "consumers", "c", "fetch"), nil).messages()
	g.post("root", path("T", "consumers", "c", "nack"), object{"tokens": tokensOf(fetched)}).is(http.StatusNoContent)

	g.post("reader", path("D", "redrive"), nil).refuses(http.StatusForbidden, "forbidden")
	g.post("mover", path("D", "redrive"), nil).refuses(http.StatusForbidden, "forbidden")
	g.post("clerk", path("D", "redrive"), object{"to": "T"}).refuses(http.StatusForbidden, "forbidden")
	g.post("owner", path("D", "redrive"), object{"to": "T"}).refuses(http.StatusNotFound, "topic_not_found")
	for holder, code := range map[string]string{"clerk": "forbidden", "owner": "topic_not_found"} {
		var out redriven
		g.post(holder, path("D", "redrive"), nil).is(http.StatusOK).into(&out)
		require.Len(t, out.Failed, 1, holder)
		assert.Equal(t, code, out.Failed[0].Code, holder)
	}
	var out redriven
	g.post("root", path("D", "redrive"), nil).is(http.StatusOK).into(&out)

	assert.Equal(t, 1, out.Redriven)
}
