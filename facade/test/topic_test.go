package test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestTopic_IsCreatedOnceWithTheGivenSettings(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		for setting, value := range map[string]any{
			"max_age":           "1h30m0s",
			"max_bytes":         1_000_000,
			"max_messages":      10,
			"when_full":         "refuse_new",
			"max_message_bytes": 1000,
			"dedup_window":      "10s",
			"replicas":          1,
			"storage":           "memory",
		} {
			name, byDefault := "T-"+setting, "D-"+setting
			settings := object{setting: value}

			made := a.createTopic(name, settings)
			var again topic
			a.put(path(name), settings).is(http.StatusOK).into(&again)
			a.put(path(name), nil).is(http.StatusOK)

			assert.Equal(t, jsonOf(t, value), jsonOf(t, made.Settings[setting]), setting)
			assert.Equal(t, made, again)
			assert.Equal(t, made, a.topic(name))
			if jsonOf(t, a.createTopic(byDefault).Settings[setting]) != jsonOf(t, value) {
				a.put(path(byDefault), settings).refuses(http.StatusConflict, "other_settings")
			}
		}
	})
}

func TestTopic_SettingsChangeOneByOne(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	before := a.createTopic("T", object{"max_messages": 5})
	a.fill("T", 1, 5)
	var after topic

	a.patch(path("T"), object{"max_age": "1h"}).is(http.StatusOK).into(&after)

	before.Settings["max_age"] = "1h0m0s"
	assert.Equal(t, before.Settings, after.Settings, "only what was given has changed")

	a.patch(path("T"), object{"max_messages": 3}).is(http.StatusOK).into(&after)

	assert.EqualValues(t, 3, after.Messages, "a smaller limit holds at once")

	a.patch(path("T"), object{"when_full": "refuse_new"}).is(http.StatusOK)

	a.post(path("T", "messages"), object{"data": "x"}).refuses(http.StatusTooManyRequests, "topic_full")

	a.patch(path("T"), object{"max_messages": 0}).is(http.StatusOK)

	a.fill("T", 6, 1)
	a.patch(path("T"), nil).is(http.StatusOK)
	a.patch(path("T"), object{"storage": "file"}).refuses(http.StatusUnprocessableEntity, "invalid_setting")
	a.patch(path("none"), object{}).refuses(http.StatusNotFound, "topic_not_found")
}

func TestTopic_ShortMaxAgeShortensTheDefaultDedupWindow(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))

	short, long := a.createTopic("T", object{"max_age": "30s"}), a.createTopic("U", object{"max_age": "1h"})
	contradiction := a.put(path("V"), object{"max_age": "30s", "dedup_window": "1m"})

	assert.Equal(t, "30s", short.Settings["dedup_window"], "the window is never longer than the age")
	assert.Equal(t, "2m0s", long.Settings["dedup_window"])
	contradiction.refuses(http.StatusUnprocessableEntity, "invalid_setting")
	a.createTopic("W", object{"dedup_window": "0s"})
	a.put(path("W"), object{"dedup_window": "0s"}).is(http.StatusOK)
}

func TestTopic_DefaultDedupWindowFollowsMaxAge(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_age": "1h"})
	windowAfter := func(settings object) any {
		var after topic
		a.patch(path("T"), settings).is(http.StatusOK).into(&after)
		return after.Settings["dedup_window"]
	}

	assert.Equal(t, "30s", windowAfter(object{"max_age": "30s"}), "the default goes with the age")
	assert.Equal(t, "2m0s", windowAfter(object{"max_age": "1h"}))
	assert.Equal(t, "5m0s", windowAfter(object{"dedup_window": "5m"}))
	a.patch(path("T"), object{"max_age": "30s"}).refuses(http.StatusUnprocessableEntity, "invalid_setting")
	assert.Equal(t, "30s", windowAfter(object{"max_age": "30s", "dedup_window": "0s"}))
}

func TestTopic_FullRefusesOrDropsAsItIsSet(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	one := object{"data": strings.Repeat("x", 250)}
	for limit, value := range map[string]int{"max_messages": 3, "max_bytes": 1100} {
		refusing, dropping := "refuse-"+limit, "drop-"+limit
		a.createTopic(refusing, object{"when_full": "refuse_new", limit: value})
		a.createTopic(dropping, object{"when_full": "drop_oldest", limit: value})
		for range 3 {
			a.produce(refusing, one)
			a.produce(dropping, one)
		}

		refused := a.post(path(refusing, "messages"), one)
		for range 3 {
			a.produce(dropping, one)
		}

		assert.Contains(t, refused.refuses(http.StatusTooManyRequests, "topic_full").Detail, refusing)
		assert.NotEmpty(t, refused.header.Get("Retry-After"))
		assert.EqualValues(t, 3, a.topic(refusing).LastSequence, "what was refused has no sequence")
		dropped := a.topic(dropping)
		assert.EqualValues(t, 6, dropped.LastSequence)
		assert.EqualValues(t, 6-dropped.Messages+1, dropped.FirstSequence)
		assert.LessOrEqual(t, dropped.Messages, uint64(3))
	}
}

func TestTopic_MayHaveTheNameOfTheBrokersOwnStreams(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for _, name := range []string{"positions", "delayed"} {
		a.createTopic(name)
		a.fill(name, 1, 1)
		a.del(path(name)).is(http.StatusNoContent)
	}
}

func TestTopic_MessagesGoAtTheirMaxAge(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_age": "500ms"})
	c := a.register("T")

	a.fill("T", 1, 3)

	require.Eventually(t, func() bool { return a.topic("T").Messages == 0 }, 20*time.Second, 20*time.Millisecond)
	now := a.topic("T")
	assert.EqualValues(t, 4, now.FirstSequence)
	assert.EqualValues(t, 3, now.LastSequence)
	assert.Empty(t, c.drain())
	assert.Zero(t, c.describe().Size)
}

func TestTopic_DescriptionOfAnEmptyTopic(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))

	made := a.createTopic("T")

	assert.Equal(t, "dq.T.*", made.Subject)
	assert.WithinDuration(t, time.Now(), made.Created, time.Minute)
	assert.EqualValues(t, 0, made.LastSequence)
	assert.EqualValues(t, 1, made.FirstSequence)
	assert.Zero(t, made.FirstTime)
	assert.Zero(t, made.LastTime)
}

func TestTopic_DescriptionCountsExactly(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("other")

	stored := a.produce("T", batch(1, 7, nil))
	a.register("T")
	named := a.register("T", object{"name": "n"})
	a.classic().registerProducer("T")
	a.classic().registerConsumer("T")
	a.register("other")

	now := a.topic("T")
	assert.EqualValues(t, 7, now.Messages)
	assert.EqualValues(t, 1, now.FirstSequence)
	assert.EqualValues(t, 7, now.LastSequence)
	assert.Positive(t, now.Bytes)
	assert.Equal(t, 3, now.Consumers)
	assert.Equal(t, 1, now.Producers)
	assert.WithinDuration(t, stored[6].Time, now.LastTime, time.Minute)
	assert.False(t, now.FirstTime.Before(stored[0].Time))

	named.del().is(http.StatusNoContent)

	assert.Equal(t, 2, a.topic("T").Consumers)
}

func TestTopic_RecreatedHasNothingOfTheOldOne(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		for generation := range 3 { // within the time for which the broker keeps what it read
			a.createTopic("T")
			text := fmt.Sprint("of ", generation)
			a.produce("T", object{"data": text})
			for _, name := range []string{"c", "d"} {
				a.register("T", object{"name": name, "start": "first"})
				assert.Equal(t, []string{text}, a.consumer("T", name).drain())
			}

			a.del(path("T")).is(http.StatusNoContent)
		}
	})
}

func TestTopic_ConsumerRegisteredDuringDeletionIsOfTheNewTopicOrGone(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for range 20 {
		a.createTopic("T")
		a.fill("T", 0, 5)

		var registrations sync.WaitGroup
		for i := range 8 {
			registrations.Go(func() {
				spec := object{"name": fmt.Sprint("c", i), "start": "new"}
				if i%2 == 0 {
					spec = object{}
				}
				// It may be gone before it could be described, too.
				if r := a.post(path("T", "consumers"), spec); r.status != http.StatusCreated {
					assert.Equal(t, http.StatusNotFound, r.status, r.body)
				}
			})
		}
		a.del(path("T")).is(http.StatusNoContent)
		a.createTopic("T")
		registrations.Wait()
		a.fill("T", 0, 1)

		var list struct{ Consumers []consumerState }
		a.get(path("T", "consumers")).is(http.StatusOK).into(&list)
		for _, c := range list.Consumers {
			position := a.consumer("T", c.ID).describe().Position
			assert.LessOrEqual(t, position, uint64(1), "it is of the new topic, or gone")
		}
		a.del(path("T")).is(http.StatusNoContent)
	}
}

func TestTopic_PurgeRemovesWhatItSays(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		a.fill("T", 1, 10)
		c := a.register("T", object{"start": "first"})
		assert.Equal(t, numbers(1, 2), textsOf(c.fetch("limit=2")))

		assert.EqualValues(t, 4, a.purge("T", "up_to=4"))
		assert.EqualValues(t, 5, a.topic("T").FirstSequence)
		assert.EqualValues(t, 0, a.purge("T", "up_to=4"))
		assert.EqualValues(t, 6, c.describe().Size)
		assert.Equal(t, []string{"5"}, textsOf(c.fetch()), "a purged message is not handed out, even if read ahead")

		assert.EqualValues(t, 5, a.purge("T", "up_to=9"))
		assert.EqualValues(t, 1, a.purge("T"))
		assert.EqualValues(t, 0, a.purge("T"))
		assert.Empty(t, c.drain())
		assert.Zero(t, c.describe().Size)
		assert.EqualValues(t, 10, a.topic("T").LastSequence)

		a.fill("T", 11, 1)

		assert.EqualValues(t, 11, a.topic("T").LastSequence)
		assert.Equal(t, []string{"11"}, c.drain())
		a.del(path("none", "messages")).refuses(http.StatusNotFound, "topic_not_found")
	})
}

func TestTopic_PurgeUpToTheFutureKeepsTheSequences(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		a.fill("T", 1, 11)

		assert.EqualValues(t, 11, a.purge("T", "up_to=1000000"))

		assert.EqualValues(t, 11, a.topic("T").LastSequence, "sequences go on where they were")
		assert.EqualValues(t, 0, a.purge("T", "up_to=9223372036854775807"))
		assert.EqualValues(t, 12, a.produce("T", object{"data": "12"})[0].Sequence)
	})
}

func TestTopic_IDsOfADeletedTopicSayThatItIsGone(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 1, 3)
	byID := first.register("T", object{"name": "n", "mode": "lease", "start": "first"})
	byName := first.consumer("T", "n")
	producer, consumer := first.classic().registerProducer("T"), first.classic().registerConsumer("T")
	require.Len(t, byName.fetch("limit=10"), 3)
	require.Empty(t, byID.via(second).fetch("limit=10"))
	second.classic().produce("T", producer, "4")
	second.classic().consume("T", consumer)

	first.del(path("T")).is(http.StatusNoContent)

	first.del(path("T")).refuses(http.StatusNotFound, "topic_not_found")
	first.get(path("T")).refuses(http.StatusNotFound, "topic_not_found")
	byName.post("fetch", nil).refuses(http.StatusNotFound, "topic_not_found")
	isGone := func(a api) {
		t.Helper()
		refused(t, a.classic().produce("T", producer, "x"), "producer_not_found",
			fmt.Sprintf("Producer:%d does not exist any more: it was deleted, or Topic:T was", producer))
		refused(t, a.classic().consume("T", consumer), "consumer_not_found",
			fmt.Sprintf("Consumer:%d does not exist any more: it was deleted, or Topic:T was", consumer))
	}
	isGone(first)

	first.createTopic("T")
	first.fill("T", 1, 3)

	isGone(first)
	byID.post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")
	byName.post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")
	require.Eventually(t, func() bool { return second.classic().consume("T", consumer).Code == "consumer_not_found" },
		10*time.Second, 5*time.Millisecond, "the other broker hears of it")
	isGone(second)
	byName.via(second).post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")

	again := second.register("T", object{"name": "n", "start": "first"})

	assert.Greater(t, again.ID, byID.ID)
	assert.Equal(t, numbers(1, 3), byName.via(second).drain())
	now := first.topic("T")
	assert.Equal(t, 1, now.Consumers)
	assert.Equal(t, 0, now.Producers)
}

func TestTopic_NamesMayHaveAnyCharacters(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for _, name := range unusualNames {
		made := a.createTopic(name)

		require.Equal(t, name, made.Name)
		a.put(path(name), nil).is(http.StatusOK)
		a.fill(name, 1, 1)
		a.register(name, object{"name": "c", "start": "first"})
		require.Equal(t, []string{"1"}, a.consumer(name, "c").drain())
		require.Equal(t, name, a.consumer(name, "c").describe().Topic)
	}
}

func TestTopic_ListHasPrefixesAndPages(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	list := func(query url.Values) (names []string, next string) {
		var out struct {
			Topics []topic
			Next   string
		}
		a.get("/v1/topics?" + query.Encode()).is(http.StatusOK).into(&out)
		for _, topic := range out.Topics {
			names = append(names, topic.Name)
		}
		return names, out.Next
	}
	names, next := list(nil)
	assert.Empty(t, names)
	assert.Empty(t, next)
	for _, name := range unusualNames {
		a.createTopic(name)
	}

	names, next = list(nil)

	assert.Equal(t, unusualNames, names)
	assert.Empty(t, next)
	for _, prefix := range []string{"a", "a/", "a/b", "%", "ü", "none", ""} {
		var want, got []string
		for _, name := range unusualNames {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}

		for query := (url.Values{"prefix": {prefix}, "limit": {"2"}}); ; query.Set("after", next) {
			names, next = list(query)
			assert.LessOrEqual(t, len(names), 2)
			got = append(got, names...)
			if next == "" {
				break
			}
		}

		assert.Equal(t, want, got, "prefix %q", prefix)
	}
}

// unusualNames are names of topics, in the order in which topics are listed.
var unusualNames = []string{
	"%41", "&b=c", "+", "...", "/etc/passwd", "?", "a b", "a.b", "a/b", "a/b/c", "a;b",
	"b", "b#c", "ünï", "主题", "🎉",
}

func TestTopic_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "a reserved name", call: "PUT /v1/topics/subl",
				status: 422, code: "invalid_topic_name", detail: "reserved",
			},
			{
				name: "a name with two dashes", call: "PUT /v1/topics/a--b",
				status: 422, code: "invalid_topic_name", detail: "--",
			},
			{
				name: "a long name", call: "PUT /v1/topics/" + tooLong,
				status: 422, code: "invalid_topic_name", detail: "240",
			},
			{
				name: "settings that are no JSON", call: "PUT " + noTopic, body: "max_age=1s",
				status: 400, code: "invalid_json", detail: "JSON",
			},
			{
				name: "settings in a list", call: "PUT " + noTopic, body: "[]",
				status: 400, code: "invalid_json", detail: "object",
			},
			{
				name: "null for settings", call: "PUT " + noTopic, body: "null",
				status: 400, code: "invalid_json", detail: "object",
			},
			{
				name: "an unknown setting", call: "PUT " + noTopic, body: `{"max_agee":"1s"}`,
				status: 400, code: "invalid_field", detail: "max_agee",
			},
			{
				name: "a number for an age", call: "PUT " + noTopic, body: `{"max_age":10}`,
				status: 400, code: "invalid_field", detail: "max_age",
			},
			{
				name: "no duration", call: "PUT " + noTopic, body: `{"max_age":"1 day"}`,
				status: 400, code: "invalid_field", detail: "1 day",
			},
			{
				name: "a negative age", call: "PUT " + noTopic, body: `{"max_age":"-1s"}`,
				status: 422, code: "invalid_setting", detail: "max_age",
			},
			{
				name: "a negative size", call: "PUT " + noTopic, body: `{"max_bytes":-1}`,
				status: 422, code: "invalid_setting", detail: "max_bytes",
			},
			{
				name: "a size without room for a message", call: "PUT " + noTopic, body: `{"max_bytes":1023}`,
				status: 422, code: "invalid_setting", detail: "1024",
			},
			{
				name: "a size beyond all disks", call: "PUT " + noTopic, body: `{"max_bytes":9223372036854775807}`,
				status: 422, code: "invalid_setting", detail: "max_bytes",
			},
			{
				name: "messages larger than all of them", call: "PUT " + noTopic,
				body:   `{"max_bytes":2000,"max_message_bytes":1482}`,
				status: 422, code: "invalid_setting", detail: "less than 1482",
			},
			{
				name: "an age beyond all times", call: "PUT " + noTopic, body: `{"max_age":"2200000h"}`,
				status: 422, code: "invalid_setting", detail: "876000h",
			},
			{
				name: "null for a setting", call: "PUT " + noTopic, body: `{"max_age":null}`,
				status: 400, code: "invalid_field", detail: "max_age",
			},
			{
				name: "a change to null", call: "PATCH " + topicT, body: `{"max_messages":null}`,
				status: 400, code: "invalid_field", detail: "max_messages",
			},
			{
				name: "a negative number", call: "PUT " + noTopic, body: `{"max_messages":-1}`,
				status: 422, code: "invalid_setting", detail: "max_messages",
			},
			{
				name: "a fraction", call: "PUT " + noTopic, body: `{"max_messages":1.5}`,
				status: 400, code: "invalid_field", detail: "max_messages",
			},
			{
				name: "a huge number", call: "PUT " + noTopic, body: `{"max_message_bytes":4294967296}`,
				status: 400, code: "invalid_field", detail: "max_message_bytes",
			},
			{
				name: "an unknown word for what to do when full", call: "PUT " + noTopic,
				body:   `{"when_full":"explode"}`,
				status: 422, code: "invalid_setting", detail: "drop_oldest",
			},
			{
				name: "a short window", call: "PUT " + noTopic, body: `{"dedup_window":"1ms"}`,
				status: 422, code: "invalid_setting", detail: "100ms",
			},
			{
				name: "a window above the age", call: "PUT " + noTopic, body: `{"max_age":"1m","dedup_window":"2m"}`,
				status: 422, code: "invalid_setting", detail: "max_age",
			},
			{
				name: "no replica", call: "PUT " + noTopic, body: `{"replicas":0}`,
				status: 422, code: "invalid_setting", detail: "replicas",
			},
			{
				name: "many replicas", call: "PUT " + noTopic, body: `{"replicas":6}`,
				status: 422, code: "invalid_setting", detail: "replicas",
			},
			{
				name: "more replicas than servers", call: "PUT " + noTopic, body: `{"replicas":3}`,
				status: 422, code: "invalid_setting", detail: "replicas",
			},
			{
				name: "an unknown storage", call: "PUT " + noTopic, body: `{"storage":"tape"}`,
				status: 422, code: "invalid_setting", detail: "memory",
			},
			{
				name: "other settings", call: "PUT " + topicT, body: `{"max_messages":999}`,
				status: 409, code: "other_settings", detail: "PATCH",
			},
			{
				name: "a change of nothing", call: "PATCH " + noTopic, body: `{}`,
				status: 404, code: "topic_not_found", detail: "none",
			},
			{
				name: "a change to an empty word", call: "PATCH " + topicT, body: `{"when_full":""}`,
				status: 422, code: "invalid_setting", detail: "when_full",
			},
			{
				name: "a change of the storage", call: "PATCH " + topicT, body: `{"storage":"file"}`,
				status: 422, code: "invalid_setting", detail: "storage",
			},
			{
				name: "deletion of nothing", call: "DELETE " + noTopic,
				status: 404, code: "topic_not_found", detail: "none",
			},
			{name: "no topic", call: "GET " + noTopic, status: 404, code: "topic_not_found", detail: "none"},
			{
				name: "a purge up to nothing", call: "DELETE " + messagesT + "?up_to=0",
				status: 400, code: "invalid_field", detail: "up_to",
			},
			{
				name: "a purge up to a word", call: "DELETE " + messagesT + "?up_to=all",
				status: 400, code: "invalid_field", detail: "up_to",
			},
			{
				name: "an empty page", call: "GET /v1/topics?limit=0",
				status: 400, code: "invalid_field", detail: "limit",
			},
			{
				name: "a large page", call: "GET /v1/topics?limit=1001",
				status: 400, code: "invalid_field", detail: "1000",
			},
			{
				name: "a prefix that is not UTF-8", call: "GET /v1/topics?prefix=%ff",
				status: 400, code: "invalid_field", detail: "prefix",
			},
		}
	})
}
