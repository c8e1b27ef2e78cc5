package facade

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"

	"dq/jetstream"
)

const (
	livePath  = "/livez"
	readyPath = "/readyz"

	// maxDamaged is the most damaged topics that /readyz describes.
	maxDamaged = 100
)

// livez answers that the process serves HTTP.
func (f *Facade) livez(c *fiber.Ctx) error {
	return classicSuccess{}.write(c)
}

// A readiness is the answer of a broker that does its work, if not all of it.
type readiness struct {
	Status      string `json:"status"`
	AcceptsData bool   `json:"accepts_data"`
	Message     string `json:"message,omitzero"` // why it does not accept data

	// DamagedTopics is how many topics are not served because their files are damaged. Only callers that may see all
	// topics get the names: every caller if there are no tokens, otherwise none.
	DamagedTopics int            `json:"damaged_topics,omitzero"`
	Damaged       []damagedTopic `json:"damaged,omitempty"`
}

// A damagedTopic is a topic that is not served, and why.
type damagedTopic struct {
	Topic string                 `json:"topic"`
	Files []jetstream.FileDamage `json:"files"`
}

// noteDamage adds the damaged topics, which are not served.
func (f *Facade) noteDamage(r *readiness) {
	topics := f.service.Topics.Damaged()
	r.DamagedTopics = len(topics)
	if f.opts.Tokens != nil {
		return
	}
	for _, t := range topics[:min(len(topics), maxDamaged)] {
		r.Damaged = append(r.Damaged, damagedTopic{Topic: t.Topic, Files: t.Damage.Files})
	}
}

// readyz answers whether the broker can do its work. A broker whose disk is full can: who takes it out of service then
// cuts off the readers and the deletions that would make room.
func (f *Facade) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	if f.leaving.Load() {
		return &notReadyError{errors.New("the broker is about to stop")}
	}

	err := f.opts.Ready(ctx)
	ready := &readiness{Status: "success", AcceptsData: err == nil}
	var full *jetstream.StorageFullError
	switch {
	case errors.As(err, &full):
		ready.Message = full.Error()
	case err != nil:
		return &notReadyError{err}
	}
	f.noteDamage(ready)
	return writeJSON(c, fiber.StatusOK, ready)
}

// notReadyError says why the broker cannot do its work now.
type notReadyError struct{ reason error }

func (e *notReadyError) Error() string { return e.reason.Error() }
