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

	// pieceStep is the distance between the offsets of two pieces. They overlap, so that no name is between them
	// if some streams were created or deleted between two requests.
	pieceStep = pieceLength - 64

	// concurrentInfos is how many descriptions of topics are asked for at once.
	concurrentInfos = 64
)

// Names yields the names of the topics that start with prefix and come after the name after, in the order of the
// names. It yields a topic that exists from the beginning to the end of the loop exactly once, and no topic that did
// not exist during the loop. It asks the engine only for as many names as the loop needs. Errors:
// [*UnavailableError]; the loop ends with it.
func (t *Topics) Names(ctx context.Context, prefix, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		l := &streamList{names: t.streamNames, pieces: make(map[int]piece), starts: &t.starts}
		damaged := t.damagedNames(prefix, after)
		merged := func(name string, _ error) bool {
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

// damagedNames returns the topics that are not served, in the order of their names. The engine
// does not list them.
func (t *Topics) damagedNames(prefix, after string) (names []string) {
	for _, topic := range t.Damaged() {
		if strings.HasPrefix(topic.Topic, prefix) && topic.Topic > after {
			names = append(names, topic.Topic)
		}
	}
	slices.Sort(names)
	return names
}

// DescribeAll describes those of the topics names that exist, in the order of names; of damaged ones it returns the
// name and the damage. Errors: [*UnavailableError].
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

// A streamList is the engine's list of all streams, in the order of their names, as far as one loop has read it. The
// engine returns the list in pieces, each from an offset on. Between two requests streams may be created and deleted,
// and all that come after them move. So an offset only helps to find a name; what counts is that a piece has all
// streams between its first and its last one.
type streamList struct {
	// names returns streams from an offset on, in their order, and the number of all.
	names func(ctx context.Context, offset int) (streams []string, total int, err error)

	total  int           // streams, according to the newest piece
	pieces map[int]piece // those that were read, by their number; piece n starts at n * pieceStep
	starts *pieceStarts
}

// pieceStarts are the streams with which pieces started when any loop read them last. They say which piece to read
// first, and nothing else.
type pieceStarts struct {
	mu     sync.Mutex
	starts []string // "" for a piece that was not read yet
}

// guess returns the number of the piece that name was in, and of the last piece.
func (s *pieceStarts) guess(name string) (n, last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, start := range s.starts {
		if start != "" && start <= name {
			n = i
		}
	}
	return n, max(len(s.starts)-1, 0)
}

// learn records the start of piece n, and that no piece has a greater number than last.
func (s *pieceStarts) learn(n, last int, start string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts = slices.Grow(s.starts[:min(len(s.starts), last+1)], last+1)[:last+1]
	if n <= last {
		s.starts[n] = start
	}
}

// A piece is a part of the list of streams.
type piece struct {
	streams     []string
	first, last bool // nothing comes before, or after, this piece
}

// compare returns 0 if p has the first stream from name on, or shows that none exists. It returns -1 if that stream
// comes before p, and 1 if it comes after p.
func (p *piece) compare(name string) int {
	switch {
	case !p.first && (len(p.streams) == 0 || name < p.streams[0]):
		return -1
	case !p.last && (len(p.streams) == 0 || name > p.streams[len(p.streams)-1]):
		return 1
	}
	return 0
}

// each yields the topics whose names start with prefix and come after the name after. The result more is false if
// yield has ended the loop.
func (l *streamList) each(
	ctx context.Context, prefix, after string, yield func(string, error) bool,
) (more bool, err error) {
	near := prefix
	if strings.HasPrefix(after, prefix) {
		near = after
	} else if prefix < after {
		return true, nil // all of them come before
	}
	streams, whole, err := l.startWith(ctx, StreamName(prefix), StreamName(near))
	if err != nil {
		return false, err
	}

	// Streams are in the order of the encoded names, which is another one than that of the names. Topics of one piece
	// can be sorted. If they do not fit into one, take prefix itself first, then the longer names by their next byte.
	if !whole {
		streams = streams[:min(len(streams), 1)]
		if !slices.Equal(streams, []string{StreamName(prefix)}) {
			streams = nil
		}
	}
	for _, topic := range topicsOf(streams) {
		if topic > after && !yield(topic, nil) {
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

// startWith returns streams whose names start with prefix, from the first one on, as far as they are in one piece with
// the name near, which starts with prefix, too. The result whole says that they are all.
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

// find returns the piece with the first stream from name on.
func (l *streamList) find(ctx context.Context, name string) (piece, error) {
	for {
		n, high := l.starts.guess(name)
		for low := 0; low <= high; n = (low + high) / 2 {
			p, err := l.piece(ctx, n)
			if err != nil {
				return piece{}, err
			}

			switch p.compare(name) {
			case 0:
				return p, nil
			case -1:
				high = n - 1
			case 1:
				if low = n + 1; low > high {
					high = l.total / pieceStep // longer than when the list was read last
				}
			}
		}

		// So many streams came or went meanwhile that the pieces leave gaps.
		clear(l.pieces)
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
	if len(streams) > 0 {
		l.starts.learn(n, total/pieceStep, streams[0])
	}
	l.total = total
	p := piece{streams: streams, first: offset == 0, last: offset+len(streams) >= total}
	l.pieces[n] = p
	return p, nil
}

// streamNames asks the engine for the names of its streams, from an offset on. It returns some of them, in their
// order, and the number of all.
func (t *Topics) streamNames(ctx context.Context, offset int) (names []string, total int, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout)
	defer cancel()
	reply, err := Repeat(ctx, func(ctx context.Context) (*nats.Msg, error) {
		// Without a subject: to look for one, the engine would compare it with those of all streams.
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

// topicsOf returns the topics that streams hold, in the order of their names. Other streams are left out.
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
