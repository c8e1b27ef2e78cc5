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
func (r *Registry) registerName(
	ctx context.Context, c jetstream.Consumer,
) (_ jetstream.Consumer, created bool, err error) {
	registered := false // c has an id, and is stored under it
	for {
		owner, revision, err := r.readName(ctx, c.Topic, c.Name)
		var none *jetstream.ConsumerNotFoundError
		if !errors.As(err, &none) {
			if err == nil && registered { // another caller was faster: give the new id up
				if err := r.RemoveConsumer(ctx, c.ID); err != nil && !errors.As(err, &none) {
					return jetstream.Consumer{}, false, err
				}
			}
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
	c, _, err := r.readName(ctx, topic, name)
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

// removeName takes the name away from c, if c has it.
func (r *Registry) removeName(ctx context.Context, c jetstream.Consumer) error {
	owner, revision, err := r.readName(ctx, c.Topic, c.Name)
	var none *jetstream.ConsumerNotFoundError
	switch {
	case errors.As(err, &none) || err == nil && owner.ID != c.ID:
		return nil
	case err != nil:
		return err
	}
	err = r.kv.Purge(ctx, nameKey(c.Topic, c.Name), natsjs.LastRevision(revision))
	if err != nil && !conflict(err) {
		return unavailable("remove a name", err)
	}
	return nil
}
