package registry

import (
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// RegisterName stores reg, a consumer with a name, under a new id, unless its
// topic has a consumer of that name already: then created is false, and the
// entry is that one. Errors: [*UnavailableError].
func (r *Registry) RegisterName(ctx context.Context, reg Registration) (_ Entry, created bool, err error) {
	own := Entry{ID: -1, Registration: reg} // no id yet
	for {
		there, revision, err := r.named(ctx, reg.Topic, reg.Name)
		var none *NotFoundError
		if !errors.As(err, &none) {
			if err == nil && own.ID >= 0 { // somebody was faster
				if err := r.Remove(ctx, Consumer, own.ID); err != nil && !errors.As(err, &none) {
					return Entry{}, false, err
				}
			}
			return there, false, err
		}
		if own.ID < 0 {
			if own.ID, err = r.Register(ctx, Consumer, reg); err != nil {
				return Entry{}, false, err
			}
		}
		key, value := nameKey(reg.Topic, reg.Name), strconv.AppendInt(nil, own.ID, 10)
		if revision == 0 {
			_, err = r.kv.Create(ctx, key, value)
		} else { // of a consumer that is gone
			_, err = r.kv.Update(ctx, key, value, revision)
		}
		switch {
		case err == nil:
			return own, true, nil
		case !conflict(err):
			return Entry{}, false, &UnavailableError{"register a name", err}
		}
	}
}

// LookupName returns the consumer of topic with that name.
// Errors: [*NotFoundError], [*UnavailableError].
func (r *Registry) LookupName(ctx context.Context, topic, name string) (Entry, error) {
	if id, ok := r.names.Get(nameKey(topic, name)); ok {
		// A name may have been given anew a moment ago; its old id is gone then.
		if reg, err := r.Lookup(ctx, Consumer, id); err == nil {
			return Entry{id, reg}, nil
		}
	}
	entry, _, err := r.named(ctx, topic, name)
	return entry, err
}

// named is LookupName from the store. It returns the revision of the name, 0 if
// it was not given to anybody, too.
func (r *Registry) named(ctx context.Context, topic, name string) (_ Entry, revision uint64, err error) {
	key := nameKey(topic, name)
	entry, err := r.kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Entry{}, 0, &NotFoundError{Kind: Consumer, ID: name}
	case err != nil:
		return Entry{}, 0, &UnavailableError{"look up a name", err}
	}
	id, err := strconv.ParseInt(string(entry.Value()), 10, 64)
	if err != nil {
		return Entry{}, 0, &UnavailableError{"look up a name", err}
	}
	reg, err := r.Lookup(ctx, Consumer, id)
	if err == nil {
		r.names.Add(key, id)
	}
	return Entry{id, reg}, entry.Revision(), err
}

// removeName takes the name away from the consumer with that id, if it has it.
func (r *Registry) removeName(ctx context.Context, topic, name string, id int64) error {
	owner, revision, err := r.named(ctx, topic, name)
	var none *NotFoundError
	switch {
	case errors.As(err, &none) || err == nil && owner.ID != id:
		return nil
	case err != nil:
		return err
	}
	if err := r.kv.Purge(ctx, nameKey(topic, name), jetstream.LastRevision(revision)); err != nil && !conflict(err) {
		return &UnavailableError{"remove a name", err}
	}
	return nil
}

const namePrefix = "name."

func nameKey(topic, name string) string {
	return namePrefix + encode(topic) + "." + encode(name)
}
