package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"dq/sdk"
)

// Consumer consumes topics into a log file.
type Consumer struct {
	ID     int      // names the file, see [ConsumerFile]
	Topics []string // consumed in turns; at least one
	Dir    string   // of the file; must exist

	// Timeout ends the run when no message has come for that long; 0 means never.
	Timeout time.Duration
	// Ready, if not nil, is called when all consumers are registered and the
	// file exists.
	Ready func()
	// Progress, if not nil, is called with the lines written so far: once
	// before the first line and once after each.
	Progress func(written int)
}

// Run registers one consumer for each topic, creates or empties the file, and writes
// each message to it in the form of [FormatConsumed], line by line, unbuffered. It ends
// when no message has come for the timeout, and returns how many lines it wrote.
//
// Run creates the file after the broker has answered all registrations: once it exists,
// the consumers see every message produced from then on.
func (c Consumer) Run(ctx context.Context, client *sdk.Client) (written int, err error) {
	in, err := sdk.NewConsumer(ctx, client, c.Topics, sdk.WithIdleTimeout(c.Timeout))
	if err != nil {
		return 0, fmt.Errorf("register consumers: %w; nothing was consumed", err)
	}
	defer func() {
		if closeErr := in.Close(); err == nil {
			err = closeErr
		}
	}()

	file, err := os.Create(ConsumerFile(c.Dir, c.ID))
	if err != nil {
		return 0, fmt.Errorf("%w; nothing was consumed", err)
	}
	if c.Ready != nil {
		c.Ready()
	}

	written, err = c.receive(ctx, in, file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return written, fmt.Errorf("%s: wrote %d lines; %w", file.Name(), written, err)
	}
	return written, nil
}

// receive writes the messages of in to file.
func (c Consumer) receive(ctx context.Context, in *sdk.Consumer, file *os.File) (written int, err error) {
	c.report(0)

	for message, err := range in.Messages(ctx) {
		if err != nil {
			if errors.Is(err, sdk.ErrOutcomeUnknown) {
				err = fmt.Errorf("a message that was on its way may be lost: %w", err)
			}
			return written, err
		}

		if _, err := file.WriteString(FormatConsumed(message.Topic, message.Text)); err != nil {
			return written, fmt.Errorf("a message of topic %s was consumed but not written: %w", message.Topic, err)
		}

		written++
		c.report(written)
	}
	return written, nil
}

func (c Consumer) report(written int) {
	if c.Progress != nil {
		c.Progress(written)
	}
}
