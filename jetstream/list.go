package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"dq/jetstream/engine"
)

const (
	// pieceLength is how many names of streams the engine returns at most for one request.
	pieceLength = 1024

	// pieceStep is the distance between the offsets of two pieces. Pieces overlap, so that no name is lost between
	// them when some streams are created or deleted between two requests.
	pieceStep = pieceLength - 64

	// concurrentInfos is how many topics are described at once.
	concurrentInfos = 64
)

// Names yields the names of the topics that start with prefix and come after the name after, in ascending order. It
// yields a topic that exists from the beginning to the end of the loop exactly once, and no topic that did not exist
// during the loop. It asks the engine only for as many names as the loop needs. An error ends the loop.
// Errors: [*UnavailableError].
func (t *Topics) Names(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		l := &streamList{names: t.streamNames, pieces: make(map[int]piece), starts: &t.starts}
		damaged := t.damagedNames(prefix, after)
		merged := func(name string) bool {
			for ; len(damaged) > 0 && damaged[0] < name; damaged = damaged[1:] {
				if !yield(damaged[0], nil) {
					return false
				}
			}
			return yield(name, nil)
		}

		more, err := l.each(ctx, prefix, after, merged)
		if err != nil {
			yield("", engine.Unavailable("list the topics", err))
			return
		}
		for ; more && len(damaged) > 0; damaged = damaged[1:] {
			more = yield(damaged[0], nil)
		}
	}
}

// damagedNames returns the damaged topics, which the engine does not list, in ascending order. Prefix and after are
// those of [Topics.Names].
func (t *Topics) damagedNames(prefix, after string) (names []string) {
	for _, topic := range t.Damaged() {
		if strings.HasPrefix(topic.Topic, prefix) && topic.Topic > after {
			names = append(names, topic.Topic)
		}
	}
	slices.Sort(names)
	return names
}

// DescribeAll describes the topics names, in that order, and leaves out those that do not exist. The description of a
// damaged topic has its name, the default settings and the damage. Errors: [*UnavailableError].
func (t *Topics) DescribeAll(ctx context.Context, names []string) ([]Topic, error) {
	all := make([]Topic, len(names))
	calls, ctx := errgroup.WithContext(ctx)
	calls.SetLimit(concurrentInfos)

	for i, name := range names {
		calls.Go(func() (err error) {
			all[i], err = t.Describe(ctx, name)
			var deleted *TopicNotFoundError
			var damaged *TopicDamagedError
			switch {
			case errors.As(err, &deleted):
				return nil
			case errors.As(err, &damaged):
				all[i] = Topic{Name: name, Settings: t.DefaultSettings(), Damage: damaged.Damage.Files}
				return nil
			}
			return err
		})
	}

	err := calls.Wait()
	return slices.DeleteFunc(all, func(t Topic) bool { return t.Name == "" }), err
}

// A streamList is the engine's list of all streams, in ascending order, as far as one loop has read it. The engine
// returns the list in pieces, each from an offset on. A stream that is created or deleted between two requests moves
// all streams after it to another offset. So offsets only help to find a name. What counts is that a piece has all
// streams between its first and its last one.
type streamList struct {
	// names returns the streams from an offset on, and the number of all streams.
	names func(ctx context.Context, offset int) (streams []string, total int, err error)

	pieces map[int]piece // that this loop has read, by number; piece n starts at the offset n * pieceStep
	starts *pieceStarts
}

// pieceStarts remembers the first stream of each piece, as any loop read it last. It only says which piece to read
// first.
type pieceStarts struct {
	mu     sync.Mutex
	starts []string // "" for a piece that was empty or not read yet
}

// guess returns the number of the piece that probably has name.
func (s *pieceStarts) guess(name string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, start := range s.starts {
		if start != "" && start <= name {
			n = i
		}
	}
	return n
}

// learn records the first stream of piece n, "" if the piece is empty.
func (s *pieceStarts) learn(n int, start string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.starts) <= n {
		s.starts = append(s.starts, "")
	}
	s.starts[n] = start
}

// A piece is a part of the list of streams.
type piece struct {
	streams     []string
	first, last bool // no stream comes before, or after, this piece
}

// compare returns 0 if p shows which stream is the first from name on, or that none is. It returns -1 if an earlier
// piece shows that, and 1 if a later one does.
func (p *piece) compare(name string) int {
	switch {
	case !p.first && (len(p.streams) == 0 || name < p.streams[0]):
		return -1
	case !p.last && (len(p.streams) == 0 || name > p.streams[len(p.streams)-1]):
		return 1
	}
	return 0
}

// each yields the topics whose names start with prefix and come after the name after, in ascending order. The result
// more is false if yield has ended the loop.
func (l *streamList) each(
	ctx context.Context, prefix, after string, yield func(topic string) bool,
) (more bool, err error) {
	near := prefix
	if strings.HasPrefix(after, prefix) {
		near = after
	} else if prefix < after {
		return true, nil // all topics with this prefix come before after
	}
	streams, whole, err := l.startWith(ctx, StreamName(prefix), StreamName(near))
	if err != nil {
		return false, err
	}

	// The engine sorts by encoded names, and topics are listed by their names. If one piece has all topics with the
	// prefix, topicsOf sorts them. Otherwise yield the topic that is called prefix, then the longer names by their next
	// byte.
	if !whole {
		streams = streams[:min(len(streams), 1)]
		if !slices.Equal(streams, []string{StreamName(prefix)}) {
			streams = nil
		}
	}
	for _, topic := range topicsOf(streams) {
		if topic > after && !yield(topic) {
			return false, nil
		}
	}
	if whole {
		return true, nil
	}

	for b := range 256 {
		if more, err := l.each(ctx, prefix+string([]byte{byte(b)}), after, yield); !more || err != nil {
			return more, err
		}
	}
	return true, nil
}

// startWith returns streams whose names start with prefix, from the first one on: those in the piece that has near, a
// name with that prefix. It returns none if the first one is in another piece. The result whole says that they are all
// streams with that prefix.
func (l *streamList) startWith(ctx context.Context, prefix, near string) (streams []string, whole bool, err error) {
	p, err := l.find(ctx, near)
	if err != nil || p.compare(prefix) != 0 {
		return nil, false, err
	}

	from, _ := slices.BinarySearch(p.streams, prefix)
	streams = p.streams[from:]
	end := slices.IndexFunc(streams, func(stream string) bool { return !strings.HasPrefix(stream, prefix) })
	if end >= 0 {
		return streams[:end], true, nil
	}
	return streams, p.last, nil
}

// find returns the piece that shows which stream is the first from name on. It begins with the piece that had name
// before, and goes on to the neighbours.
func (l *streamList) find(ctx context.Context, name string) (piece, error) {
	n, step := l.starts.guess(name), 0
	for {
		p, err := l.piece(ctx, n)
		if err != nil {
			return piece{}, err
		}

		last := step
		if step = p.compare(name); step == 0 {
			return p, nil
		}
		if step == -last {
			// The name is between two pieces: many streams came or went between the two requests.
			clear(l.pieces)
			step = 0
			continue
		}
		n += step
	}
}

// piece returns piece n of the list.
func (l *streamList) piece(ctx context.Context, n int) (piece, error) {
	if p, ok := l.pieces[n]; ok {
		return p, nil
	}

	offset := n * pieceStep
	streams, total, err := l.names(ctx, offset)
	if err != nil {
		return piece{}, err
	}
	start := ""
	if len(streams) > 0 {
		start = streams[0]
	}
	l.starts.learn(n, start)

	p := piece{streams: streams, first: offset == 0, last: offset+len(streams) >= total}
	l.pieces[n] = p
	return p, nil
}

// streamNames asks the engine for the names of its streams from an offset on. It returns at most pieceLength of them,
// in ascending order, and the number of all streams.
func (t *Topics) streamNames(ctx context.Context, offset int) (names []string, total int, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout)
	defer cancel()
	reply, err := Repeat(ctx, func(ctx context.Context) (*nats.Msg, error) {
		// The request names no subject: the engine would compare it with the subjects of all streams.
		return t.nc.RequestWithContext(ctx, "$JS.API.STREAM.NAMES", fmt.Appendf(nil, `{"offset":%d}`, offset))
	})
	if err != nil {
		return nil, 0, err
	}

	var out struct {
		Error   *jetstream.APIError `json:"error"`
		Total   int                 `json:"total"`
		Streams []string            `json:"streams"`
	}
	if err := json.Unmarshal(reply.Data, &out); err != nil {
		return nil, 0, err
	}
	if out.Error != nil {
		return nil, 0, out.Error
	}
	return out.Streams, out.Total, nil
}

// topicsOf returns the topics that streams hold, in ascending order. It leaves out streams that hold no topic.
func topicsOf(streams []string) (topics []string) {
	for _, stream := range streams {
		if topic, ok := topicOf(stream); ok {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

// topicOf returns the topic that a stream holds, and reports whether it holds one.
func topicOf(stream string) (topic string, ok bool) {
	encoded, ok := strings.CutPrefix(stream, engine.TopicPrefix)
	if !ok || encoded == "" {
		return "", false
	}
	return DecodeName(encoded)
}
