package registry

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// followPause is the pause after an attempt to watch the bucket that failed.
const followPause = 100 * time.Millisecond

// A follower watches the bucket for a registry.
type follower struct {
	*Registry
	back    chan nats.Status // reports that the connection is back after it was cut off
	watcher natsjs.KeyWatcher
	opened  uint64 // entries up to this revision were stored before the registry was opened
	last    uint64 // the newest revision that was read
	stored  uint64 // entries up to this revision were stored before the watcher was made
}

// startToFollow reads all entries into the index in the background, and then keeps the index
// and what is remembered in step with what any process stores, until Close.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) startToFollow(ctx context.Context) error {
	back := r.js.Conn().StatusChanged(nats.CONNECTED)
	f := &follower{Registry: r, back: back}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := f.watch(ctx); err != nil {
		r.stop()
		r.js.Conn().RemoveStatusListener(back)
		return unavailable("watch the registry", err)
	}
	f.opened = f.stored

	go func() {
		defer close(r.ended)
		defer r.js.Conn().RemoveStatusListener(back)
		f.run(ctx)
	}()
	return nil
}

// Close stops following the bucket.
func (r *Registry) Close() {
	r.stop()
	<-r.ended
}

// watch begins to watch the entries after the last one that was read.
func (f *follower) watch(ctx context.Context) error {
	before, err := f.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	var opts []natsjs.WatchOpt
	if f.last > 0 {
		opts = append(opts, natsjs.ResumeFromRevision(f.last+1))
	}
	watcher, err := f.kv.WatchAll(ctx, opts...) // it ends with its context
	if err != nil {
		return err
	}
	f.watcher, f.stored = watcher, before.CachedInfo().State.LastSeq
	return nil
}

// run reads entries until ctx ends.
//
// What the engine has for a watcher is lost when the engine restarts, as it does on a full
// disk. The watcher would notice that only after 10 seconds, and ends for good if it cannot
// be renewed then. So there is a new one whenever the connection is back.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		f.read(ctx)
		f.drop()
		for ctx.Err() == nil && f.watch(ctx) != nil {
			select {
			case <-time.After(followPause):
			case <-ctx.Done():
			}
		}
	}
}

// read reads entries until ctx ends, or the watcher has to be replaced.
func (f *follower) read(ctx context.Context) {
	for {
		select {
		case entry, ok := <-f.watcher.Updates():
			if !ok {
				return
			}
			f.take(entry)
		case <-f.back:
			return
		case <-ctx.Done():
			return
		}
	}
}

// take records an entry. It is nil when the watcher has sent all entries that existed.
func (f *follower) take(entry natsjs.KeyValueEntry) {
	if entry == nil {
		f.last = max(f.last, f.stored)
	} else {
		f.last = entry.Revision()
		f.applyOnce(entry.Key(), entry.Value(), f.last, f.last > f.opened)
	}
	f.index.setApplied(f.last)
}

// drop stops the watcher. It reads what the watcher still sends, since the watcher waits for that.
func (f *follower) drop() {
	watcher := f.watcher
	go func() {
		for range watcher.Updates() {
		}
	}()
	go func() { _ = watcher.Stop() }() // not here: it calls the engine
}
