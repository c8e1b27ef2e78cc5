package registry

import (
	"context"
	"encoding/base32"
	"errors"
	"strconv"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"dq/jetstream"
)

// namePrefix is what the keys of names start with. The entry of a name has the id
// of its consumer.
const namePrefix = "name."

// nameKey returns the key of a name. Base32 turns any text into a word that is valid in
// a key.
func nameKey(topic, name string) string {
	encode := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString
	return namePrefix + encode([]byte(topic)) + "." + encode([]byte(name))
}

// registerName stores c, a consumer with a name, under a new id, unless its topic
// has a consumer of that name: then it returns that one, and created is false.
//
// The entry of the id comes first, then that of the name. If the process ends in between,
// the next call that asks for the name gives it to the id.
func (r *Registry) registerName(
	ctx context.Context, c jetstream.Consumer,
) (_ jetstream.Consumer, created bool, err error) {
	registered := false // c has an id, and is stored under it
	for {
		owner, revision, err := r.resolveName(ctx, c.Topic, c.Name)
		var none *jetstream.ConsumerNotFoundError
		switch {
		case err == nil && registered && owner.ID == c.ID: // another call has finished this one
			return c, true, nil
		case err == nil && registered: // another caller was faster: give the new id up
			if err := r.RemoveConsumer(ctx, c.ID); err != nil && !errors.As(err, &none) {
				return jetstream.Consumer{}, false, err
			}
			return owner, false, nil
		case !errors.As(err, &none):
			return owner, false, err
		}

		if !registered {
			if c.ID, err = r.create(ctx, consumer, record{Consumer: c}); err != nil {
				return jetstream.Consumer{}, false, err
			}
			registered = true
		}

		err = r.storeName(ctx, c, revision)
		switch {
		case err == nil:
			return c, true, nil
		case !conflict(err):
			return jetstream.Consumer{}, false, unavailable("register a name", err)
		}
	}
}

// resolveName returns the consumer of topic that has a name, and the revision of the name's
// entry, as readName does. If none has it, but one was registered under it by a call that
// did not come to its second step, resolveName does that step.
func (r *Registry) resolveName(
	ctx context.Context, topic, name string,
) (_ jetstream.Consumer, revision uint64, err error) {
	for {
		owner, revision, missing := r.readName(ctx, topic, name)
		var none *jetstream.ConsumerNotFoundError
		if !errors.As(missing, &none) {
			return owner, revision, missing
		}

		if err := r.catchUp(ctx); err != nil {
			return jetstream.Consumer{}, 0, err
		}
		id, ok := r.index.withoutName(nameKey(topic, name))
		if !ok {
			return jetstream.Consumer{}, revision, missing
		}
		c, err := r.Consumer(ctx, id)
		switch {
		case errors.As(err, &none): // it was deleted since
			continue
		case err != nil:
			return jetstream.Consumer{}, 0, err
		}
		if err := r.storeName(ctx, c, revision); err != nil && !conflict(err) {
			return jetstream.Consumer{}, 0, unavailable("register a name", err)
		}
	}
}

// FinishRegistrations finishes the registrations under a name that a process did not
// finish: the consumer gets the name or, if another one has it, is removed.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) FinishRegistrations(ctx context.Context) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}

	for _, id := range r.index.allWithoutName() {
		c, err := r.Consumer(ctx, id)
		var owner jetstream.Consumer
		if err == nil {
			owner, _, err = r.resolveName(ctx, c.Topic, c.Name)
		}
		if err == nil && owner.ID != id {
			err = r.RemoveConsumer(ctx, id)
		}

		var none *jetstream.ConsumerNotFoundError
		if err != nil && !errors.As(err, &none) { // one that was deleted since needs nothing
			return err
		}
	}
	return nil
}

// storeName gives c its name, if the entry of the name still has that revision. Revision
// 0 means that the name has no entry.
func (r *Registry) storeName(ctx context.Context, c jetstream.Consumer, revision uint64) error {
	key, value := nameKey(c.Topic, c.Name), strconv.AppendInt(nil, c.ID, 10)
	if revision == 0 {
		_, err := r.kv.Create(ctx, key, value)
		return err
	}
	_, err := r.kv.Update(ctx, key, value, revision) // a deleted consumer had the name
	return err
}

// ConsumerByName returns the consumer of topic that has a name.
// Errors: [*jetstream.ConsumerNotFoundError], [*jetstream.UnavailableError].
func (r *Registry) ConsumerByName(ctx context.Context, topic, name string) (jetstream.Consumer, error) {
	if id, ok := r.names.Get(nameKey(topic, name)); ok {
		// Another process may have deleted the consumer and registered one of the same
		// name a moment ago: the remembered id is that of the deleted one then.
		if c, err := r.Consumer(ctx, id); err == nil {
			return c, nil
		}
	}
	c, _, err := r.resolveName(ctx, topic, name)
	return c, err
}

// readName reads the consumer that has a name from the store, and the revision of
// the name's entry: 0 if no consumer ever had the name. The revision is right even
// if the error says that the consumer was deleted.
func (r *Registry) readName(
	ctx context.Context, topic, name string,
) (_ jetstream.Consumer, revision uint64, err error) {
	key := nameKey(topic, name)
	entry, err := r.kv.Get(ctx, key)
	switch {
	case errors.Is(err, natsjs.ErrKeyNotFound):
		return jetstream.Consumer{}, 0, &jetstream.ConsumerNotFoundError{Consumer: name}
	case err != nil:
		return jetstream.Consumer{}, 0, unavailable("look up a name", err)
	}
	id, err := strconv.ParseInt(string(entry.Value()), 10, 64)
	if err != nil {
		return jetstream.Consumer{}, 0, unavailable("look up a name", err)
	}

	c, err := r.Consumer(ctx, id)
	if err == nil {
		r.names.Add(key, id)
	}
	return c, entry.Revision(), err
}

// FreeName removes the entry of the name that a deleted consumer had. The name is free
// without that, too: the entry only takes up space.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) FreeName(ctx context.Context, id int64) (err error) {
	rec, ok := r.known.Peek(entryID{consumer, id})
	if !ok {
		rec, _, err = r.read(ctx, entryID{consumer, id})
	}
	if err != nil || rec.Name == "" {
		return free(err)
	}

	key := nameKey(rec.Topic, rec.Name)
	entry, err := r.kv.Get(ctx, key)
	if err != nil || string(entry.Value()) != strconv.FormatInt(id, 10) {
		return free(err)
	}
	return free(r.kv.Purge(ctx, key, natsjs.LastRevision(entry.Revision())))
}

// free returns the error of an attempt to free a name, nil if the name is free or another
// consumer has it.
func free(err error) error {
	if err == nil || errors.Is(err, natsjs.ErrKeyNotFound) || conflict(err) {
		return nil
	}
	return unavailable("remove a name", err)
}
