package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dq/sdk"
)

// maxBatchBytes is how many bytes a batch has at most.
const maxBatchBytes = 1 << 20

// batchFlags hold the flags that say how messages are produced in batches.
type batchFlags struct {
	message sdk.NewMessage // what all messages have in common
	headers []string       // NAME:VALUE
	size    int
}

// batchFlagNames are the flags that add defines.
var batchFlagNames = []string{"key", "header", "content-type", "ttl", "delay", "batch"}

func (b *batchFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&b.message.Key, "key", "", "the key of the messages")
	flags.StringArrayVar(&b.headers, "header", nil, "a header of the messages, NAME:VALUE; may be repeated")
	flags.StringVar(&b.message.ContentType, "content-type", "", "the content type of the messages")
	flags.DurationVar(&b.message.TTL, "ttl", 0, "remove the messages after this time, in whole seconds")
	flags.DurationVar(&b.message.Delay, "delay", 0, "store the messages after this time")
	flags.IntVar(&b.size, "batch", 1000, "most messages in a batch")
}

// template returns what all messages have in common.
func (b *batchFlags) template() (sdk.NewMessage, error) {
	message := b.message
	if len(b.headers) > 0 {
		message.Headers = make(map[string]string)
	}
	for _, header := range b.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return message, &usageError{fmt.Errorf("--header %q: want NAME:VALUE", header)}
		}
		message.Headers[name] = strings.TrimSpace(value)
	}
	return message, nil
}

// produceBatches sends messages in batches, until the first one that is not stored.
func (p *production) produceBatches(cmd *cobra.Command, topic *sdk.Topic, messages iter.Seq2[string, error]) error {
	template, err := p.batch.template()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	if _, _, err := topic.Create(ctx, sdk.PartialSettings{}); err != nil {
		return err
	}

	r := &batchResults{out: p.output(cmd), progress: newProgress(cmd, topic.Name()), stop: stop}
	producer := sdk.NewAsyncProducer(topic, sdk.WithBatch(p.batch.size, maxBatchBytes), sdk.WithReport(r.add))
	sending := sendAll(ctx, producer, template, messages)
	closing := producer.Close(context.WithoutCancel(ctx)) // now all results are there

	if err := cmp.Or(r.failed, sending, closing); err != nil {
		return fmt.Errorf("after %d messages: %w", r.stored, err)
	}
	r.progress.finish(r.stored)
	return nil
}

// sendAll sends messages, which have the fields of template, until ctx ends.
func sendAll(
	ctx context.Context, producer *sdk.AsyncProducer, template sdk.NewMessage, messages iter.Seq2[string, error],
) error {
	for text, err := range messages {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}

		message := template
		message.Data = []byte(text)
		if err := producer.Send(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

// batchResults counts what an asynchronous producer stored, and stops it at the first message that it did not store.
type batchResults struct {
	out      output
	progress *progress
	stop     func()

	stored int
	failed error // of the first message that was not stored
}

// add takes the result of one message. The producer calls it for one at a time.
func (r *batchResults) add(result sdk.AsyncResult) {
	if err := r.record(result); err != nil {
		r.failed = cmp.Or(r.failed, err)
		r.stop()
	}
}

func (r *batchResults) record(result sdk.AsyncResult) error {
	if result.Err != nil {
		return result.Err
	}
	r.stored++
	r.progress.update(r.stored)
	if r.out.json {
		return r.out.object(result.Receipt)
	}
	return nil
}
