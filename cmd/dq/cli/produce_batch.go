package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dq/scenarios/runner"
	"dq/sdk"
)

// batchOptions say how messages are produced in batches.
type batchOptions struct {
	message sdk.NewMessage // what all of them have in common
	headers []string
	size    int
}

// batchFlags are the flags that define makes.
var batchFlags = []string{"key", "header", "content-type", "ttl", "delay", "batch"}

func (b *batchOptions) define(flags *pflag.FlagSet) {
	flags.StringVar(&b.message.Key, "key", "", "the key of the messages")
	flags.StringArrayVar(&b.headers, "header", nil, "a header of the messages, NAME:VALUE; may be given several times")
	flags.StringVar(&b.message.ContentType, "content-type", "", "the content type of the messages")
	flags.DurationVar(&b.message.TTL, "ttl", 0, "the messages go after that time, in whole seconds")
	flags.DurationVar(&b.message.Delay, "delay", 0, "the messages are stored after that time")
	flags.IntVar(&b.size, "batch", 1000, "how many messages a batch has at most")
}

func (b *batchOptions) parseHeaders() error {
	for _, header := range b.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return &usageError{fmt.Errorf("--header %q: want NAME:VALUE", header)}
		}
		if b.message.Headers == nil {
			b.message.Headers = make(map[string]string)
		}
		b.message.Headers[name] = strings.TrimSpace(value)
	}
	return nil
}

// produce sends messages in batches, until the first that is not stored.
func (b *batchOptions) produce(cmd *cobra.Command, c *client, topic *sdk.Topic, messages iter.Seq2[string, error]) error {
	if err := b.parseHeaders(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if _, _, err := topic.Create(ctx, sdk.PartialSettings{}); err != nil {
		return err
	}
	display := newProgress(cmd, topic.Name())
	stored := 0
	var failed error // of the first message that is not stored; these two are known when the producer is closed
	producer := sdk.NewAsyncProducer(topic, sdk.WithBatch(b.size, 1<<20), sdk.WithReport(func(d sdk.AsyncResult) {
		err := d.Err
		if err == nil {
			stored++
			display.update(stored)
			if c.json {
				err = c.output(cmd).object(d.Receipt)
			}
		}
		if err != nil {
			failed = cmp.Or(failed, err)
			stop()
		}
	}))
	sending := b.sendAll(ctx, producer, messages)
	closing := producer.Close(context.WithoutCancel(ctx))
	if err := cmp.Or(failed, sending, closing); err != nil {
		return fmt.Errorf("after %d messages: %w", stored, err)
	}
	display.finish(stored)
	return nil
}

func (b *batchOptions) sendAll(ctx context.Context, producer *sdk.AsyncProducer, messages iter.Seq2[string, error]) error {
	for text, err := range messages {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		message := b.message
		message.Data = []byte(text)
		if err := producer.Send(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

// progress shows how many messages are stored: while they are, on a terminal
// that is not waiting for what is typed.
type progress struct {
	cmd     *cobra.Command
	topic   string
	display *runner.Display // nil: none
}

func newProgress(cmd *cobra.Command, topic string) *progress {
	p := &progress{cmd: cmd, topic: topic}
	stderr, ok := cmd.ErrOrStderr().(*os.File)
	if ok && term.IsTerminal(int(stderr.Fd())) && !term.IsTerminal(int(os.Stdin.Fd())) {
		p.display = runner.NewDisplay(stderr, topic, "messages")
		p.display.Count(0)
	}
	return p
}

func (p *progress) update(stored int) {
	if p.display != nil {
		p.display.Count(stored)
	}
}

func (p *progress) finish(stored int) {
	if p.display != nil {
		p.display.Finish("produced")
		return
	}
	fmt.Fprintf(p.cmd.ErrOrStderr(), "produced %d messages to %s\n", stored, p.topic)
}
