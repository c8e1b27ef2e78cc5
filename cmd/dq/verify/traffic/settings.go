package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// Sizes of the scene "settings": a message is either shorter than the limit that is
// set now and then, or longer.
const (
	settingsLimit = 1000
	longPayload   = 2000
)

// playSettings changes the limits of a topic while others append to it. They are all
// for dropping the oldest messages, or all for refusing new ones: what was dropped may
// come back after a kill, until the limit removes it again.
func playSettings(r *round) {
	if !r.setTheScene() {
		return
	}
	const calls = 20
	whenFull := []string{"refuse_new", "drop_oldest"}[rand.IntN(2)]

	r.together(map[string]func(*worker){
		"changer": func(w *worker) {
			w.repeat(calls/2, "settings are changed", func(int) *history.Op {
				return w.changeTopic(randomSettings(whenFull))
			})
		},
		"producer": func(w *worker) {
			w.repeat(calls, "messages are appended", func(i int) *history.Op {
				return w.append(batch{names: []string{w.messageOf(i%4 == 3)}})
			})
		},
		"purger": func(w *worker) { w.repeat(calls/4, "messages are purged", func(int) *history.Op { return w.purge(0) }) },
		"reader": func(w *worker) {
			w.repeat(calls, "the topic is described", func(int) *history.Op {
				return w.topicCall(history.OpDescribeTopic, w.topic)
			})
		},
	})
}

func randomSettings(whenFull string) history.Settings {
	s := history.Settings{MaxMessages: 1 + rand.Int64N(4), WhenFull: whenFull}
	if rand.IntN(2) == 0 {
		s.MaxMessageBytes = settingsLimit
	}
	return s
}

// messageOf returns the name of a new message that is longer than every limit of this
// scene, or shorter.
func (w *worker) messageOf(long bool) string {
	for {
		name := w.newMessage()
		length := len(history.Payload(name))
		if long && length > longPayload || !long && length < settingsLimit/2 {
			return name
		}
	}
}
