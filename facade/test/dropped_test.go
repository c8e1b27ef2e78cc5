package test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestDropped_LimitsAreCountedBeforeAndAfterTheConsumerReads(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T", object{"max_messages": 3})
		auto, lease := a.register("T"), a.register("T", object{"mode": "lease"})

		a.fill("T", 1, 10)

		assert.EqualValues(t, 7, auto.dropped())
		assert.EqualValues(t, 7, lease.dropped())
		assert.Equal(t, numbers(8, 3), textsOf(auto.fetch("limit=10")))
		assert.Equal(t, numbers(8, 3), textsOf(lease.fetch("limit=10")))
		assert.EqualValues(t, 7, auto.dropped())
		assert.EqualValues(t, 7, lease.dropped())

		a.fill("T", 11, 5)

		assert.EqualValues(t, 9, auto.dropped(), "and 11 and 12")
		assert.EqualValues(t, 9, lease.dropped(), "and 11 and 12")
	})
}

func TestDropped_CountIsExactOverBrokersAndAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, kill := startToKill(t, dir)
	a.createTopic("T", object{"max_messages": 3})
	id := a.register("T").ID
	a.fill("T", 1, 10)

	kill()
	a, kill = startToKill(t, dir)
	assert.Equal(t, []string{"8"}, textsOf(a.consumer("T", id).fetch("limit=1")))
	kill()
	a, _ = startToKill(t, dir)
	a.fill("T", 11, 3)

	assert.EqualValues(t, 9, a.consumer("T", id).dropped(), "1 to 7, 9 and 10")

	first, second := twoBrokers(t)
	first.createTopic("T", object{"max_messages": 3})
	c := first.register("T")
	for i := range 5 {
		first.fill("T", 1+4*i, 4)
		assert.Equal(t, numbers(2+4*i, 2), textsOf(c.fetch("limit=2")))
		c = c.via(second)
		first, second = second, first
	}
	assert.EqualValues(t, 9, c.dropped(), "the first of each four, and the last of all but the last")
}

func TestDropped_MessagesThatEndBeforeTheyAreReadAreCounted(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	before := a.register("T")
	a.produce("T", []object{{"data": "1"}, {"data": "2", "ttl": "1s"}, {"data": "3"}, {"data": "4", "ttl": "1s"}})
	require.Eventually(t, func() bool { return a.topic("T").Messages == 2 }, 30*time.Second, 10*time.Millisecond)
	after := a.register("T", object{"start": "first"})

	assert.EqualValues(t, 2, before.dropped())
	assert.EqualValues(t, 0, after.dropped(), "what was missing when a consumer was registered does not count")

	assert.Equal(t, []string{"1", "3"}, before.drain())
	assert.Equal(t, []string{"1", "3"}, after.drain())
	assert.EqualValues(t, 2, before.dropped())
	assert.EqualValues(t, 0, after.dropped())

	before.seek("first")
	assert.Equal(t, []string{"1", "3"}, before.drain(), "a seek passes what is missing again")
	assert.EqualValues(t, 2, before.dropped())
}

func TestDropped_PurgesAndSeeksAreNotCounted(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T", object{"max_messages": 10})
		a.fill("T", 1, 12)
		first := a.register("T", object{"start": "first"})
		assert.EqualValues(t, 0, first.dropped(), "1 and 2 were gone before")
		require.Len(t, first.fetch("limit=1"), 1)

		assert.EqualValues(t, 3, a.purge("T", "up_to=5"))
		a.fill("T", 13, 10)
		assert.EqualValues(t, 7, first.dropped(), "6 to 12, and not 4 and 5, which were purged")
		assert.EqualValues(t, 10, a.purge("T"))
		assert.EqualValues(t, 7, first.dropped())
		a.fill("T", 23, 12)
		assert.EqualValues(t, 9, first.dropped(), "and 23 and 24")

		moved := first.seek("new")
		assert.EqualValues(t, 9, *moved.DroppedUnread, "a seek forgets nothing")
		first.seek(1)
		assert.Equal(t, numbers(25, 10), first.drain())
		assert.EqualValues(t, 9, first.dropped())
	})
}

func TestDropped_StreamThatStartsAgainCountsOnce(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_messages": 5})
	c := a.register("T")
	a.fill("T", 1, 7)
	require.Equal(t, numbers(3, 5), textsOf(c.fetch("limit=5"))) // a stream would go on reading meanwhile
	a.fill("T", 8, 13)
	require.Equal(t, numbers(16, 5), textsOf(c.stream("Last-Event-ID", "7").next(5)))
	assert.EqualValues(t, 10, c.dropped(), "1, 2, and 8 to 15")

	again := textsOf(c.stream("Last-Event-ID", "7").next(5))

	assert.Equal(t, numbers(16, 5), again)
	assert.EqualValues(t, 10, c.dropped())
}

func TestDropped_ConsumerOfAKeyDoesNotKnow(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_messages": 1})
	c := a.register("T", object{"key": "k"})

	a.produce("T", []object{{"data": "1", "key": "k"}, {"data": "2"}, {"data": "3", "key": "k"}})

	assert.Nil(t, c.describe().DroppedUnread)
	assert.Equal(t, []string{"3"}, c.drain())
	a.get(path("T", "consumers")).is(http.StatusOK)
}
