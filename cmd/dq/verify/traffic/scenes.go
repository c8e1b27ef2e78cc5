package traffic

import (
	"sync"

	"dq/cmd/dq/verify/history"
)

// scene is traffic about some of the promises, on a topic of its own. The scene "log"
// has all that is promised of a topic whose messages stay; each other one is about a
// single promise, and small enough for an exact check.
type scene struct {
	name   string
	suffix string   // of the name of its topic
	others []string // suffixes of other topics that it uses, after the name of its topic
	play   func(*round)
}

var scenes = []scene{
	{name: "log", others: []string{churnSuffix}, play: playLog},
	{name: "life", suffix: "-life", play: playLife},
	{name: "purge", suffix: "-purge", play: playPurge},
	{name: "expected", suffix: "-expected", play: playExpected},
	{name: "settings", suffix: "-settings", play: playSettings},
	{name: "delayed", suffix: "-delayed", others: []string{goneSuffix}, play: playDelayed},
	{name: "seek", suffix: "-seek", play: playSeek},
	{name: "pause", suffix: "-pause", play: playPause},
	{name: "deadletter", suffix: "-work", others: []string{deadSuffix}, play: playDeadLetters},
	{name: "keys", suffix: "-keys", play: playKeys},
	{name: "socket", suffix: "-socket", play: playSockets},
	{name: "dropped", suffix: "-dropped", play: playDropped},
	{name: "ttl", suffix: "-ttl", play: playTTL},
}

// setTheScene creates the topic of a scene, and reports whether it exists then.
func (r *round) setTheScene() bool {
	return r.worker("setup").ensureTopic(r.topic)
}

// ensureTopic creates a topic until that is answered, and reports whether it exists.
func (w *worker) ensureTopic(topic string) bool {
	_, succeeded := w.retry("the topic is created", func() *history.Op {
		return w.topicCall(history.OpEnsureTopic, topic)
	})
	return succeeded
}

// together runs workers at the same time, and returns when all have ended.
func (r *round) together(work map[string]func(*worker)) {
	var working sync.WaitGroup
	for name, do := range work {
		working.Go(func() { do(r.worker(name)) })
	}
	working.Wait()
}
