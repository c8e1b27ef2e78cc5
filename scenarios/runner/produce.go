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

// Producer produces the lines of a log file.
type Producer struct {
	ID     int      // names the file, see [ProducerFile]
	Topics []string // in the order of a round; at least one
	Dir    string   // of the file

	// Pause is the longest time to wait between two rounds. The time is random.
	Pause time.Duration
	// Progress, if not nil, is called with the lines sent so far and the lines
	// of the file: once before the first line and once after each.
	Progress func(sent, total int)
}

// Run produces the lines of the file in order and returns how many the broker
// confirmed. It registers one producer for each topic.
//
// Run reads the file twice. The first time it only checks it: if the error is a
// [*FormatError], nothing was sent and no producer was registered. Any other error says
// how many lines were sent, and whether the next one may have been.
func (p Producer) Run(ctx context.Context, client *sdk.Client) (sent int, err error) {
	name := ProducerFile(p.Dir, p.ID)
	file, err := os.Open(name)
	if err != nil {
		return 0, fmt.Errorf("%w; nothing was sent", err)
	}
	defer file.Close()

	total, err := p.check(file)
	if err != nil {
		return 0, fmt.Errorf("%w; nothing was sent", err)
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

// check counts the lines of file, checks their format, and goes back to its start.
func (p Producer) check(file *os.File) (total int, err error) {
	for _, err := range Lines(file, file.Name(), p.Topics) {
		if err != nil {
			return 0, err
		}
		total++
	}

	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("%w: a log file is read twice", err)
	}
	return total, nil
}

// send sends the first total lines of file.
func (p Producer) send(ctx context.Context, out *sdk.Producer, file *os.File, total int) (sent int, err error) {
	p.report(0, total)
	for line, err := range Lines(file, file.Name(), p.Topics) {
		if err != nil {
			return sent, fmt.Errorf("the file changed during the run: %w", err)
		}
		if sent == total { // the other lines were added after the check
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
		return sent, errors.New("the file became shorter during the run")
	}
	return sent, nil
}

func (p Producer) report(sent, total int) {
	if p.Progress != nil {
		p.Progress(sent, total)
	}
}

// pause waits a random time between two rounds.
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

// sendError says whether a line that the broker did not confirm was sent.
func sendError(line Line, err error) error {
	outcome := "was not sent"
	if errors.Is(err, sdk.ErrOutcomeUnknown) {
		outcome = "may have been sent"
	}
	return fmt.Errorf("line %d %s: %w", line.Number, outcome, err)
}
