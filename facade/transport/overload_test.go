package transport

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBodiesFitIntoTheMemoryThatThereIs(t *testing.T) {
	t.Parallel()
	const largest = 16 << 20
	assert.EqualValues(t, 256<<20, MaxBodyBytes(math.MaxInt64, largest), "there is no limit of memory")
	assert.EqualValues(t, 64<<20, MaxBodyBytes(512<<20, largest))
	assert.EqualValues(t, largest, MaxBodyBytes(1, largest), "the largest body that is allowed always fits")
}
