package bench

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"dq/cmd/broker"
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
func StartSelf(ctx context.Context, persist bool, durability broker.Durability, size int) (_ *Self, err error) {
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
	s.cfg.Addr, s.cfg.Tokens, s.cfg.TLSCert, s.cfg.NATSURL, s.cfg.NATSAddr = "127.0.0.1:0", "", "", "", ""
	s.cfg.Persist = broker.YesNo(persist)
	s.cfg.DataDir = filepath.Join(s.dir, "broker")
	s.cfg.Durability = durability
	if s.broker, err = broker.Start(ctx, s.cfg, quiet); err != nil {
		return nil, err
	}
	if s.raw, err = startRaw(ctx, s.cfg, filepath.Join(s.dir, "raw")); err != nil {
		return nil, err
	}
	s.empty, err = startEmpty(size)
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
	if o.Batch > 1 {
		return []Work{dq, s.raw.publishAsync(o)}, stop, nil
	}
	empty, stopEmpty := s.empty.produce(o)
	return []Work{dq, empty, s.raw.publish(o)}, func() { stop(); stopEmpty() }, nil
}

// Consume returns the works to compare when consuming topics of that many
// messages.
func (s *Self) Consume(ctx context.Context, messages int, o Options) ([]Work, func(), error) {
	dq, stop, err := Consume(s.URL(), "bench", messages, o)
	if err != nil {
		return nil, nil, err
	}
	raw, err := s.raw.fetch(ctx, messages, o)
	if err != nil {
		return nil, nil, err
	}
	if o.Batch > 1 {
		return []Work{dq, raw}, stop, nil
	}
	empty, stopEmpty := s.empty.consume(o)
	return []Work{dq, empty, raw}, func() { stop(); stopEmpty() }, nil
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
