package service

import (
	"context"
	"time"

	"dq/jetstream"
)

// Ack ends leases for good.
func (q *Service) Ack(ctx context.Context, consumer jetstream.Consumer, tokens []string) error {
	return q.Consumers.Ack(ctx, consumer, tokens)
}

// AckUpTo ends a lease and all before it for good.
func (q *Service) AckUpTo(ctx context.Context, consumer jetstream.Consumer, token string) error {
	return q.Consumers.AckUpTo(ctx, consumer, token)
}

// Nack ends leases, and has the messages delivered again after delay.
func (q *Service) Nack(ctx context.Context, consumer jetstream.Consumer, tokens []string, delay time.Duration) error {
	return q.Consumers.Nack(ctx, consumer, tokens, delay)
}

// Extend makes leases end a time from now.
func (q *Service) Extend(ctx context.Context, consumer jetstream.Consumer, tokens []string, lease time.Duration) error {
	return q.Consumers.Extend(ctx, consumer, tokens, lease)
}
