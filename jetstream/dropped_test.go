package jetstream

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDropped_PurgesAreToldFromLimitsHoweverTheyMix(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var record purgeRecord
		dropped, first := make(map[uint64]bool), uint64(1)
		for range 40 {
			for range random.IntN(4) { // a limit removes the oldest
				dropped[first] = true
				first++
			}
			for range random.IntN(3) { // the process ends before the purge is made, and the client repeats it
				record.add(purge{First: first, Last: first + 2, Messages: 3})
			}
			n := uint64(1 + random.IntN(4))
			record.add(purge{First: first, Last: first + n - 1, Messages: n})
			first += n
		}

		for position := range first {
			want := uint64(0)
			for sequence := position + 1; sequence < first; sequence++ {
				if dropped[sequence] {
					want++
				}
			}

			got := Dropped{}.pass(position, first, first-1-position, record.between(position, first-1))

			assert.Equal(t, want, got.Messages, "from %d to %d: %+v", position, first, record)
		}
	}
}

func TestDropped_RecordOfPurgesStaysShort(t *testing.T) {
	t.Parallel()
	var record purgeRecord
	for i := range uint64(3 * keptPurges) {
		record.add(purge{First: 10*i + 1, Last: 10*i + 9, Messages: 8})
	}

	assert.LessOrEqual(t, len(record.Purges), keptPurges)
	assert.EqualValues(t, 8*3*keptPurges, record.between(0, 1<<40), "all purges count for an unread topic")
}

func TestDropped_HolesFromBeforeAreNotCounted(t *testing.T) {
	t.Parallel()
	d := Dropped{Holes: 2, End: 10}

	d = d.pass(0, 5, 3, 0)  // three are missing, and two of them may be the holes
	d = d.pass(8, 15, 6, 1) // after all holes
	back := d.back(8)       // a stream starts again before the second gap
	again := back.pass(8, 15, 6, 1)

	assert.EqualValues(t, 6, d.Messages)
	assert.EqualValues(t, 1, back.Messages)
	assert.Equal(t, d, again)
}

func TestDropped_LogHasOneLineASecond(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	c := &Consumers{topics: &Topics{opts: StoreOptions{Logger: logger}}}
	c.drops.last = time.Now().Add(time.Hour)

	c.logDropped(Consumer{Topic: "T", Name: "c"}, 3, 3)
	assert.Empty(t, log.String())
	c.drops.last = time.Now().Add(-dropLogPause)
	c.logDropped(Consumer{Topic: "T", Name: "d"}, 4, 5)

	assert.Equal(t, 1, strings.Count(log.String(), "\n"))
	assert.Contains(t, log.String(), "topic=T consumer=d messages=4 in_all=5 not_logged=3")
}
