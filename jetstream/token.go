package jetstream

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// A leaseToken names a delivery of a message in mode lease. Clients get it as text.
type leaseToken struct {
	delivery

	consumer   int64
	generation uint64
	created    int64 // TopicCreated of the consumer
	process    int64 // that delivered the message; see durables
}

// delivery is what the engine says about one delivery, in the subject to which the
// message is acknowledged.
type delivery struct {
	count    uint64 // how often the message was delivered, this time included
	sequence uint64 // of the message
	number   uint64 // counts the deliveries of the consumer
	stored   int64  // when the message was stored, in nanoseconds of Unix time
}

const (
	tokenSeparator = "-"
	tokenBase      = 36
)

// newToken returns the token of a delivery to consumer by this process.
func (d *durables) newToken(consumer Consumer, of delivery) leaseToken {
	return leaseToken{
		delivery: of, consumer: consumer.ID, generation: consumer.Generation, created: consumer.TopicCreated,
		process: d.process,
	}
}

// numbers are the parts of the text of t, in their order.
func (t *leaseToken) numbers() [8]int64 {
	return [...]int64{
		t.consumer, int64(t.generation), int64(t.sequence), int64(t.count), int64(t.number),
		t.stored, t.process, t.created,
	}
}

// String returns t as text. It may be part of a URL.
func (t leaseToken) String() string {
	text := make([]byte, 0, 64)
	for i, n := range t.numbers() {
		if i > 0 {
			text = append(text, tokenSeparator...)
		}
		text = strconv.AppendInt(text, n, tokenBase)
	}
	return string(text)
}

// parseToken is the inverse of String. It reports false for any other text.
func parseToken(text string) (t leaseToken, ok bool) {
	numbers := t.numbers()
	rest := text
	for i := range numbers {
		var part string
		part, rest, ok = strings.Cut(rest, tokenSeparator)
		if ok != (i < len(numbers)-1) {
			return leaseToken{}, false
		}
		n, err := strconv.ParseInt(part, tokenBase, 64)
		if err != nil || n < 0 {
			return leaseToken{}, false
		}
		numbers[i] = n
	}

	t = leaseToken{
		consumer: numbers[0], generation: uint64(numbers[1]), process: numbers[6], created: numbers[7],
		delivery: delivery{
			sequence: uint64(numbers[2]), count: uint64(numbers[3]), number: uint64(numbers[4]), stored: numbers[5],
		},
	}
	return t, t.String() == text
}

// parseTokens returns the deliveries that tokens of consumer name, and the tokens that
// hold no lease of it: those of other consumers, and of this one before it was moved.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (c *Consumers) parseTokens(
	ctx context.Context, consumer Consumer, tokens []string,
) (deliveries []delivery, lost []string, err error) {
	deliveries = make([]delivery, 0, len(tokens))
	for _, text := range tokens {
		t, ok := parseToken(text)
		valid := c.durables.newToken(consumer, t.delivery)
		valid.process = t.process
		ok = ok && t == valid
		if ok && t.process != c.durables.process && c.durables.acks != nil {
			if ok, err = c.stillStored(ctx, consumer, t.delivery); err != nil {
				return nil, nil, err
			}
		}
		if !ok {
			lost = append(lost, text)
			continue
		}
		deliveries = append(deliveries, t.delivery)
	}
	return deliveries, lost, nil
}

// stillStored reports whether a message that an earlier process delivered is still the one
// with its sequence, or was removed: after a power cut another may have got the sequence.
func (c *Consumers) stillStored(ctx context.Context, consumer Consumer, d delivery) (bool, error) {
	m, err := c.topics.Get(ctx, consumer.Topic, d.sequence)
	var none *NoMessageError
	switch {
	case errors.As(err, &none):
		last, err := c.topics.LastSequence(ctx, consumer.Topic)
		return d.sequence <= last, err
	case err != nil:
		return false, err
	}
	return m.Time.UnixNano() == d.stored, nil
}

// parseAckSubject reads the subject to which a delivered message is acknowledged:
// $JS.ACK.STREAM.CONSUMER.COUNT.SEQUENCE.NUMBER.TIME.PENDING, which may have a domain
// and an account before the stream.
func parseAckSubject(subject string) (d delivery, ok bool) {
	tokens := strings.Split(subject, ".")
	offset := len(tokens) - 5
	if offset < 4 {
		return d, false
	}

	var numbers [5]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(tokens[offset+i], 10, 63)
		if err != nil {
			return d, false
		}
		numbers[i] = n
	}
	d = delivery{count: numbers[0], sequence: numbers[1], number: numbers[2], stored: int64(numbers[3])}
	return d, true
}

// appendAckTail appends the end of the subject to which d is acknowledged. The engine
// does not look at the time and at what is pending.
func (d delivery) appendAckTail(subject []byte) []byte {
	for _, n := range []uint64{d.count, d.sequence, d.number} {
		subject = strconv.AppendUint(subject, n, 10)
		subject = append(subject, '.')
	}
	return append(subject, "0.0"...)
}
