package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"dq/sdk"
)

// Producer says how to produce a log file.
type Producer struct {
	ID     int      // names the file, see [ProducerFile]
	Topics []string // in the order of a round; at least one
	Dir    string   // of the file

	// Pause is the most time to wait between two rounds. The time is random.
	Pause time.Duration
	// Progress, if not nil, is called with the lines sent so far and the lines
	// of the file: once before the first line and once after each.
	Progress func(sent, total int)
}

// Run produces the lines of the file in their order and returns how many the
// broker confirmed. It registers one producer for each topic.
//
// It reads the file twice. The first time it only checks it, so that nothing is
// sent, and no producer registered, if the error is a [*FormatError]. Any other
// error says how many lines were sent, and whether the next one may have been.
func (p Producer) Run(ctx context.Context, client *sdk.Client) (sent int, err error) {
	name := ProducerFile(p.Dir, p.ID)
	file, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("%w; nothing was sent", err)
	}
	defer file.Close()
	total := 0
	for _, err := range Lines(file, name, p.Topics) {
		if err != nil {
			return 0, fmt.Errorf("%w; nothing was sent", err)
		}
		total++
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("%w: a log file is read twice; nothing was sent", err)
	}
	out, err := sdk.NewProducer(ctx, client, p.Topics...)
	if err != nil {
		return 0, fmt.Errorf("register producers: %w; nothing was sent", err)
	}
	sent, err = p.send(ctx, out, file, total)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return sent, fmt.Errorf("%s: sent %d of %d lines; %w", name, sent, total, err)
	}
	return sent, nil
}

// send sends total lines of file.
func (p Producer) send(ctx context.Context, out *sdk.Producer, file *os.File, total int) (sent int, err error) {
	p.report(0, total)
	for line, err := range Lines(file, file.Name(), p.Topics) {
		if err != nil {
			return sent, fmt.Errorf("the file was changed meanwhile: %w", err)
		}
		if sent == total { // lines that were added after the check
			break
		}
		if sent > 0 && sent%len(p.Topics) == 0 {
			if err := p.pause(ctx); err != nil {
				return sent, err
			}
		}
		if err := out.Send(ctx, line.Topic, line.Message); err != nil {
			return sent, sendError(line, err)
		}
		sent++
		p.report(sent, total)
	}
	if sent < total {
		return sent, errors.New("the file was made shorter meanwhile")
	}
	return sent, nil
}

func (p Producer) report(sent, total int) {
	if p.Progress != nil {
		p.Progress(sent, total)
	}
}

// pause waits between two rounds.
func (p Producer) pause(ctx context.Context) error {
	if p.Pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(rand.N(p.Pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// sendError says what became of a line that the broker did not confirm.
func sendError(line Line, err error) error {
	became := "was not sent"
	if errors.Is(err, sdk.ErrOutcomeUnknown) {
		became = "may have been sent"
	}
	return fmt.Errorf("line %d %s: %w", line.Number, became, err)
}
