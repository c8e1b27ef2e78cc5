package transport

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestConnectionLimits_AddressesOfOneClient(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7:1234":                "192.0.2.7",
		"[::ffff:192.0.2.7]:1":          "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:1234":   "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff:4:5:6]:999": "2001:db8:1:2::/64",
		"[::1]:1":                       "::1",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		assert.NoError(t, err)

		assert.Equal(t, want, ClientOf(tcp))
	}
}

func TestConnectionLimits_RefusalIsReportedOnceUntilTheClientHasLeft(t *testing.T) {
	t.Parallel()
	var refused []string
	limits := ConnectionLimits{PerClient: 2, Refused: func(client string) { refused = append(refused, client) }}
	counts := make(clientCounts)
	var taken []bool
	addTo := func(client string) { taken = append(taken, counts.add(client, &limits)) }

	addTo("a")
	addTo("a")
	addTo("a")
	addTo("a")
	addTo("b")
	counts.remove("a")
	addTo("a")

	assert.Equal(t, []bool{true, true, false, false, true, true}, taken)
	assert.Equal(t, []string{"a"}, refused)
	counts.remove("a")
	counts.remove("a")
	counts.remove("b")
	assert.Empty(t, counts, "clients without a connection take no memory")
}
