package test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestTopic_IsCreatedOnceWithTheGivenSettings(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		tests := []struct{ setting, value string }{
			{"max_age", `"1h30m0s"`},
			{"max_bytes", `1000000`},
			{"max_messages", `10`},
			{"when_full", `"refuse_new"`},
			{"max_message_bytes", `1000`},
			{"dedup_window", `"10s"`},
			{"replicas", `1`},
			{"storage", `"memory"`},
		}
		for _, test := range tests {
			body := fmt.Sprintf(`{"%s":%s}`, test.setting, test.value)
			name := "T-" + test.setting
			var made, again, described topic
			a.put(path(name), body).is(http.StatusCreated).into(&made)
			assert.Equal(t, test.value, strings.TrimSpace(jsonOf(t, made.Settings[test.setting])), test.setting)
			a.put(path(name), body).is(http.StatusOK).into(&again)
			a.put(path(name), "").is(http.StatusOK)
			a.get(path(name)).is(http.StatusOK).into(&described)
			assert.Equal(t, made, again)
			assert.Equal(t, made, described)

			def := a.topic("D-"+test.setting, "").Settings[test.setting]
			if jsonOf(t, def) != test.value {
				a.put(path("D-"+test.setting), body).refuses(http.StatusConflict, "other_settings")
			}
		}
	})
}

func TestTopic_SettingsChangeOneByOne(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	before := a.topic("T", `{"max_messages":5}`)
	a.fill("T", 1, 5)
	var after topic
	a.patch(path("T"), `{"max_age":"1h"}`).is(http.StatusOK).into(&after)
	before.Settings["max_age"] = "1h0m0s"
	assert.Equal(t, before.Settings, after.Settings, "only what was given has changed")
	a.patch(path("T"), `{"max_messages":3}`).is(http.StatusOK).into(&after)
	assert.EqualValues(t, 3, after.Messages, "a smaller limit holds at once")
	a.patch(path("T"), `{"when_full":"refuse_new"}`).is(http.StatusOK)
	a.post(path("T", "messages"), `{"data":"x"}`).refuses(http.StatusTooManyRequests, "topic_full")
	a.patch(path("T"), `{"max_messages":0}`).is(http.StatusOK)
	a.fill("T", 6, 1)
	a.patch(path("T"), "").is(http.StatusOK)
	a.patch(path("T"), `{"storage":"file"}`).refuses(http.StatusUnprocessableEntity, "invalid_setting")
	a.patch(path("none"), `{}`).refuses(http.StatusNotFound, "topic_not_found")
}

func TestTopic_ShortMaxAgeShortensTheDefaultDedupWindow(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	assert.Equal(t, "30s", a.topic("T", `{"max_age":"30s"}`).Settings["dedup_window"], "the window is never longer than the age")
	assert.Equal(t, "2m0s", a.topic("U", `{"max_age":"1h"}`).Settings["dedup_window"])
	a.put(path("V"), `{"max_age":"30s","dedup_window":"1m"}`).refuses(http.StatusUnprocessableEntity, "invalid_setting")
	changed := func(settings string) any {
		var after topic
		a.patch(path("U"), settings).is(http.StatusOK).into(&after)
		return after.Settings["dedup_window"]
	}
	assert.Equal(t, "30s", changed(`{"max_age":"30s"}`), "the default goes with the age")
	assert.Equal(t, "2m0s", changed(`{"max_age":"1h"}`))
	assert.Equal(t, "5m0s", changed(`{"dedup_window":"5m"}`))
	a.patch(path("U"), `{"max_age":"30s"}`).refuses(http.StatusUnprocessableEntity, "invalid_setting")
	assert.Equal(t, "30s", changed(`{"max_age":"30s","dedup_window":"0s"}`))
	a.topic("W", `{"dedup_window":"0s"}`)
	a.put(path("W"), `{"dedup_window":"0s"}`).is(http.StatusOK)
}

func TestTopic_FullRefusesOrDropsAsItIsSet(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for name, settings := range map[string]string{"messages": `"max_messages":3`, "bytes": `"max_bytes":1100`} {
		data := strings.Repeat("x", 250)
		refuse, drop := "refuse-"+name, "drop-"+name
		a.topic(refuse, `{"when_full":"refuse_new",`+settings+`}`)
		a.topic(drop, `{"when_full":"drop_oldest",`+settings+`}`)
		one := fmt.Sprintf(`{"data":"%s"}`, data)
		for range 3 {
			a.produce(refuse, one)
			a.produce(drop, one)
		}
		r := a.post(path(refuse, "messages"), one)
		p := r.refuses(http.StatusTooManyRequests, "topic_full")
		assert.Contains(t, p.Detail, refuse)
		assert.NotEmpty(t, r.header.Get("Retry-After"))
		for range 3 {
			a.produce(drop, one)
		}
		var full, dropped topic
		a.get(path(refuse)).into(&full)
		a.get(path(drop)).into(&dropped)
		assert.EqualValues(t, 3, full.LastSequence, "what was refused has no sequence")
		assert.EqualValues(t, 6, dropped.LastSequence)
		assert.EqualValues(t, 6-dropped.Messages+1, dropped.FirstSequence)
		assert.LessOrEqual(t, dropped.Messages, uint64(3))
	}
}

func TestTopic_MayHaveTheNameOfTheBrokersOwnStreams(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for _, name := range []string{"positions", "delayed"} {
		a.topic(name, "")
		a.fill(name, 1, 1)
		a.del(path(name)).is(http.StatusNoContent)
	}
}

func TestTopic_MessagesGoAtTheirMaxAge(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", `{"max_age":"500ms"}`)
	a.consumer("T", `{"name":"c"}`)
	a.fill("T", 1, 3)
	require.Eventually(t, func() bool {
		var now topic
		a.get(path("T")).into(&now)
		return now.Messages == 0
	}, 20*time.Second, 20*time.Millisecond)
	var now topic
	a.get(path("T")).into(&now)
	assert.EqualValues(t, 4, now.FirstSequence)
	assert.EqualValues(t, 3, now.LastSequence)
	assert.Empty(t, a.drain("T", "c"))
	assert.Zero(t, a.describe("T", "c").Size)
}

func TestTopic_DescriptionCountsExactly(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	made := a.topic("T", "")
	assert.Equal(t, "dq.T.*", made.Subject)
	assert.WithinDuration(t, time.Now(), made.Created, time.Minute)
	assert.EqualValues(t, 0, made.LastSequence)
	assert.EqualValues(t, 1, made.FirstSequence)
	assert.Zero(t, made.FirstTime)
	assert.Zero(t, made.LastTime)

	stored := a.produce("T", batchOf(1, 7, ""))
	a.consumer("T", "")
	a.consumer("T", `{"name":"n"}`)
	a.classic().registerProducer("T")
	a.classic().registerConsumer("T")
	a.topic("other", "")
	a.consumer("other", "")
	var now topic
	a.get(path("T")).into(&now)
	assert.EqualValues(t, 7, now.Messages)
	assert.EqualValues(t, 1, now.FirstSequence)
	assert.EqualValues(t, 7, now.LastSequence)
	assert.Positive(t, now.Bytes)
	assert.Equal(t, 3, now.Consumers)
	assert.Equal(t, 1, now.Producers)
	assert.WithinDuration(t, stored[6].Time, now.LastTime, time.Minute)
	assert.False(t, now.FirstTime.Before(stored[0].Time))

	a.del(path("T", "consumers", "n")).is(http.StatusNoContent)
	a.get(path("T")).into(&now)
	assert.Equal(t, 2, now.Consumers)
}

func TestTopic_RecreatedHasNothingOfTheOldOne(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		for generation := range 3 { // within the time for which reads are kept
			a.topic("T", "")
			a.produce("T", `{"data":"of `+strconv.Itoa(generation)+`"}`)
			for _, name := range []string{"c", "d"} {
				a.consumer("T", `{"name":"`+name+`","start":"first"}`)
				assert.Equal(t, []string{"of " + strconv.Itoa(generation)}, a.drain("T", name))
			}
			a.del(path("T")).is(http.StatusNoContent)
		}
	})
}

func TestTopic_ConsumerRegisteredDuringDeletionIsOfTheNewTopicOrGone(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	const names = 8
	for range 20 {
		a.topic("T", "")
		a.fill("T", 0, 5)
		var calls errgroup.Group
		for i := range names {
			calls.Go(func() error {
				body := fmt.Sprintf(`{"name":"c%d","start":"new"}`, i)
				if i%2 == 0 {
					body = `{}`
				}
				// It may be gone before it could be described, too.
				if r := a.post(path("T", "consumers"), body); r.status != http.StatusCreated {
					assert.Equal(t, http.StatusNotFound, r.status, r.body)
				}
				return nil
			})
		}
		a.del(path("T")).is(http.StatusNoContent)
		a.topic("T", "")
		require.NoError(t, calls.Wait())
		a.fill("T", 0, 1)
		var list struct{ Consumers []struct{ ID int64 } }
		a.get(path("T", "consumers")).into(&list)
		for _, c := range list.Consumers {
			assert.LessOrEqual(t, a.describe("T", c.ID).Position, uint64(1), "of the topic that there is, or not at all")
		}
		a.del(path("T")).is(http.StatusNoContent)
	}
}

func TestTopic_PurgeRemovesWhatItSays(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.topic("T", "")
		a.fill("T", 1, 10)
		a.consumer("T", `{"name":"c","start":"first"}`)
		assert.Equal(t, numbers(1, 2), textsOf(a.fetch("T", "c", "limit=2")))
		purge := func(query string) (purged uint64) {
			var out struct{ Purged uint64 }
			a.del(path("T", "messages") + query).is(http.StatusOK).into(&out)
			return out.Purged
		}
		state := func() (now topic) { a.get(path("T")).into(&now); return now }

		assert.EqualValues(t, 4, purge("?up_to=4"))
		assert.EqualValues(t, 5, state().FirstSequence)
		assert.EqualValues(t, 0, purge("?up_to=4"))
		assert.EqualValues(t, 6, a.describe("T", "c").Size)
		assert.Equal(t, []string{"5"}, textsOf(a.fetch("T", "c", "")), "what was purged is not handed out, even if it was read ahead")

		assert.EqualValues(t, 5, purge("?up_to=9"))
		assert.EqualValues(t, 1, purge(""))
		assert.EqualValues(t, 0, purge(""))
		assert.Empty(t, a.drain("T", "c"))
		assert.Zero(t, a.describe("T", "c").Size)
		assert.EqualValues(t, 10, state().LastSequence)
		a.fill("T", 11, 1)
		assert.EqualValues(t, 11, state().LastSequence)
		assert.Equal(t, []string{"11"}, a.drain("T", "c"))

		assert.EqualValues(t, 1, purge("?up_to=1000000"), "a sequence that is not there yet")
		assert.EqualValues(t, 11, state().LastSequence, "sequences go on where they were")
		assert.EqualValues(t, 0, purge("?up_to=9223372036854775807"))
		assert.EqualValues(t, 12, a.produce("T", `{"data":"12"}`)[0].Sequence)
		a.del(path("none", "messages")).refuses(http.StatusNotFound, "topic_not_found")
	})
}

func TestTopic_IDsOfADeletedTopicSayThatItIsGone(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 1, 3)
	named := first.consumer("T", `{"name":"n","mode":"lease","start":"first"}`)
	old := first.classic()
	producer, consumer := old.registerProducer("T"), old.registerConsumer("T")
	require.Len(t, first.fetch("T", "n", "limit=10"), 3)
	require.Len(t, second.fetch("T", named.ID, "limit=10"), 0)
	second.classic().produce("T", producer, "4")
	second.classic().consume("T", consumer)

	first.del(path("T")).is(http.StatusNoContent)
	first.del(path("T")).refuses(http.StatusNotFound, "topic_not_found")
	first.get(path("T")).refuses(http.StatusNotFound, "topic_not_found")
	first.post(path("T", "consumers", "n", "fetch"), "").refuses(http.StatusNotFound, "topic_not_found")
	gone := func(a api) {
		a.t.Helper()
		answer := a.classic().produce("T", producer, "x")
		refused(t, answer, "producer_not_found", fmt.Sprintf("Producer:%d does not exist any more: it was deleted, or Topic:T was", producer))
		answer = a.classic().consume("T", consumer)
		refused(t, answer, "consumer_not_found", fmt.Sprintf("Consumer:%d does not exist any more: it was deleted, or Topic:T was", consumer))
	}
	gone(first)

	first.topic("T", "")
	first.fill("T", 1, 3)
	gone(first)
	first.post(path("T", "consumers", named.ID, "fetch"), "").refuses(http.StatusNotFound, "consumer_not_found")
	first.post(path("T", "consumers", "n", "fetch"), "").refuses(http.StatusNotFound, "consumer_not_found")
	require.Eventually(t, func() bool { return second.classic().consume("T", consumer).Code == "consumer_not_found" },
		10*time.Second, 5*time.Millisecond, "the other facade hears of it")
	gone(second)
	second.post(path("T", "consumers", "n", "fetch"), "").refuses(http.StatusNotFound, "consumer_not_found")

	again := second.consumer("T", `{"name":"n","start":"first"}`)
	assert.Greater(t, again.ID, named.ID)
	assert.Equal(t, numbers(1, 3), second.drain("T", "n"))
	var now topic
	first.get(path("T")).into(&now)
	assert.Equal(t, 1, now.Consumers)
	assert.Equal(t, 0, now.Producers)
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
	all := []string{"%41", "&b=c", "+", "..", "/etc/passwd", "?", "a b", "a.b", "a/b", "a/b/c", "a;b", "b", "b#c", "ünï", "主题", "🎉"}
	for _, name := range all {
		made := a.topic(name, "")
		require.Equal(t, name, made.Name)
		a.put(path(name), "").is(http.StatusOK)
		a.fill(name, 1, 1)
		a.consumer(name, `{"name":"c","start":"first"}`)
		require.Equal(t, []string{"1"}, a.drain(name, "c"))
		require.Equal(t, name, a.describe(name, "c").Topic)
	}
	names, next = list(nil)
	assert.Equal(t, all, names)
	assert.Empty(t, next)
	for _, prefix := range []string{"a", "a/", "a/b", "%", "ü", "none", ""} {
		var want, got []string
		for _, name := range all {
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
