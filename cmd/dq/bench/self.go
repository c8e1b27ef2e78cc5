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

// quiet is where what is measured logs to.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// Self is a broker in this process with what it is compared to.
type Self struct {
	cfg    broker.Config
	dir    string
	broker *broker.Broker
	empty  *empty
	raw    *raw
}

// StartSelf starts a broker in this process, that keeps its data in a temporary
// directory or, if persist is false, in memory.
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
	if s.cfg, _, err = broker.LoadConfig(); err != nil {
		return nil, err
	}
	// The environment may tune the broker, but neither open nor close it.
	s.cfg.Addr, s.cfg.NATSURL, s.cfg.NATSAddr, s.cfg.Replicas = "127.0.0.1:0", "", "", 1
	s.cfg.Tokens, s.cfg.TLSCert, s.cfg.TLSKey, s.cfg.TLSClientCA, s.cfg.AuditLog = "", "", "", "", ""
	s.cfg.Persist = broker.YesNo(persist)
	s.cfg.DataDir = filepath.Join(s.dir, "broker")
	s.cfg.Durability = durability
	if s.broker, err = broker.Start(ctx, s.cfg, quiet); err != nil {
		return nil, err
	}
	if s.raw, err = startRaw(ctx, s.cfg, filepath.Join(s.dir, "raw")); err != nil {
		return nil, err
	}
	s.empty, err = startEmpty(o)
	return s, err
}

// URL is where the broker answers.
func (s *Self) URL() string { return s.broker.URL() }

// restart stops the broker and starts it again, and returns how long it took to
// be ready.
func (s *Self) restart(ctx context.Context) (time.Duration, error) {
	if err := s.broker.Stop(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	var err error
	s.broker, err = broker.Start(ctx, s.cfg, quiet)
	return time.Since(begin), err
}

// Produce returns the works to compare when producing.
func (s *Self) Produce(o Options) ([]Work, func(), error) {
	dq, stop, err := Produce(s.URL(), "bench", o)
	if err != nil {
		return nil, nil, err
	}
	empty, stopEmpty := s.empty.produce(o)
	works := []Work{dq, empty, s.raw.publishAsync(o)}
	if o.Batch == 1 {
		works = append(works, s.raw.publish(o))
	}
	return works, func() { stop(); stopEmpty() }, nil
}

// Consume returns the works to compare when consuming topics of that many
// messages.
func (s *Self) Consume(ctx context.Context, messages int, o Options) ([]Work, func(), error) {
	dq, stop, err := Consume(ctx, s.URL(), "bench", messages, o)
	if err != nil {
		return nil, nil, err
	}
	raw, err := s.raw.fetch(ctx, messages, o)
	if err != nil {
		stop()
		return nil, nil, err
	}
	empty, stopEmpty := s.empty.consume(o)
	return []Work{dq, empty, raw}, func() { stop(); stopEmpty() }, nil
}

// Latency returns the works to compare from produce to consume.
func (s *Self) Latency(ctx context.Context, o Options) ([]Work, func(), error) {
	dq, stop, err := Latency(s.URL(), "bench", o)
	if err != nil {
		return nil, nil, err
	}
	raw, stopRaw, err := s.raw.latency(ctx, o)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return []Work{dq, raw}, func() { stop(); stopRaw() }, nil
}

// Stop stops all of it and removes the data.
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
