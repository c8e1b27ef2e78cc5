package bench

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"dq/cmd/dq/broker"
)

// quiet discards the log of the measured broker.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// Self is a broker in this process, together with its baselines.
type Self struct {
	cfg    broker.Config
	dir    string
	broker *broker.Broker
	empty  *emptyHandler
	raw    *rawJetStream
}

// StartSelf starts a broker and its baselines in this process. They keep their data in
// a temporary directory or, if persist is false, in memory.
func StartSelf(ctx context.Context, persist bool, durability broker.Durability, o Options) (_ *Self, err error) {
	s := &Self{}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()

	if s.dir, err = os.MkdirTemp("", "dq-bench-"); err != nil {
		return nil, err
	}
	if err := s.configure(persist, durability); err != nil {
		return nil, err
	}

	if s.broker, err = broker.Start(ctx, s.cfg, quiet); err != nil {
		return nil, err
	}
	if s.raw, err = startRawJetStream(ctx, s.cfg, filepath.Join(s.dir, "raw")); err != nil {
		return nil, err
	}
	s.empty, err = startEmptyHandler(o)
	return s, err
}

// configure reads the environment, which may tune the broker, and overrides who may
// reach it and where its data are.
func (s *Self) configure(persist bool, durability broker.Durability) (err error) {
	if s.cfg, _, err = broker.LoadConfig(); err != nil {
		return err
	}

	s.cfg.Addr, s.cfg.NatsURL, s.cfg.NATSAddr, s.cfg.Replicas = "127.0.0.1:0", "", "", 1
	s.cfg.Tokens, s.cfg.TLSCert, s.cfg.TLSKey, s.cfg.TLSClientCA, s.cfg.AuditLog = "", "", "", "", ""

	s.cfg.Persist = broker.YesNo(persist)
	s.cfg.DataDir = filepath.Join(s.dir, "broker")
	s.cfg.Durability = durability
	return nil
}

// URL returns the address of the broker.
func (s *Self) URL() string { return s.broker.URL() }

// restart restarts the broker and returns how long the start took until it was ready.
func (s *Self) restart(ctx context.Context) (time.Duration, error) {
	if err := s.broker.Stop(ctx); err != nil {
		return 0, err
	}

	begin := time.Now()
	var err error
	s.broker, err = broker.Start(ctx, s.cfg, quiet)
	return time.Since(begin), err
}

// Produce returns the works to compare for producing: that on the broker first. Stop
// closes their connections.
func (s *Self) Produce(o Options) (_ []Work, stop func(), err error) {
	dq, stopDQ, err := Produce(s.URL(), "bench", o)
	if err != nil {
		return nil, nil, err
	}

	empty, stopEmpty := s.empty.produce(o)
	works := []Work{dq, empty, s.raw.publishAsync(o)}
	if o.Batch == 1 {
		works = append(works, s.raw.publish(o))
	}
	return works, func() { stopDQ(); stopEmpty() }, nil
}

// Consume returns the works to compare for consuming topics of that many messages: that
// on the broker first. Stop closes their connections.
func (s *Self) Consume(ctx context.Context, messages int, o Options) (_ []Work, stop func(), err error) {
	dq, stopDQ, err := Consume(ctx, s.URL(), "bench", messages, o)
	if err != nil {
		return nil, nil, err
	}
	raw, err := s.raw.fetch(ctx, messages, o)
	if err != nil {
		stopDQ()
		return nil, nil, err
	}

	empty, stopEmpty := s.empty.consume(o)
	return []Work{dq, empty, raw}, func() { stopDQ(); stopEmpty() }, nil
}

// Lease returns the works to compare for work queues on topics of that many messages: that on the broker first. Stop
// closes their connections.
func (s *Self) Lease(ctx context.Context, messages int, o Options) (_ []Work, stop func(), err error) {
	dq, stopDQ, err := Lease(ctx, s.URL(), "bench", messages, o)
	if err != nil {
		return nil, nil, err
	}
	raw, err := s.raw.lease(ctx, messages, o)
	if err != nil {
		stopDQ()
		return nil, nil, err
	}

	empty, stopEmpty := s.empty.lease(o)
	return []Work{dq, empty, raw}, func() { stopDQ(); stopEmpty() }, nil
}

// Latency returns the works to compare for the time from produce to consume: that on
// the broker first. Stop closes their connections.
func (s *Self) Latency(ctx context.Context, o Options) (_ []Work, stop func(), err error) {
	dq, stopDQ, err := Latency(s.URL(), "bench", o)
	if err != nil {
		return nil, nil, err
	}
	raw, stopRaw, err := s.raw.latency(ctx, o)
	if err != nil {
		stopDQ()
		return nil, nil, err
	}
	return []Work{dq, raw}, func() { stopDQ(); stopRaw() }, nil
}

// Stop stops the broker and the baselines, and removes their data.
func (s *Self) Stop() {
	if s.empty != nil {
		s.empty.stop()
	}
	if s.raw != nil {
		s.raw.stop()
	}
	if s.broker != nil {
		_ = s.broker.Stop(context.Background())
	}
	_ = os.RemoveAll(s.dir)
}
