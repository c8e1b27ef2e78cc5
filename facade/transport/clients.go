package transport

import (
	"net"
	"net/netip"
)

// ipv6Client is how many bits of an IPv6 address name a client: most networks give each machine, or each household,
// all addresses that have them in common.
const ipv6Client = 64

// ConnectionLimits say how many connections may be open at once.
type ConnectionLimits struct {
	All       int // from anywhere
	PerClient int // from one client (see [ClientOf]); 0 is no limit
	// Refused, if it is not nil, is called when a client is refused another connection, once until it has none left.
	Refused func(client string)
}

// ClientOf returns what the limits take for one client: the IP address of addr or, with IPv6, its network of 64 bits.
func ClientOf(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is4() || ip.IsLoopback() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, ipv6Client).Masked().String()
}

// clientCounts are the open connections of each client that has one.
type clientCounts map[string]*clientCount

type clientCount struct {
	open    int
	refused bool // at least once
}

// add counts one more connection of client, unless it has as many as limits allow.
func (c clientCounts) add(client string, limits *ConnectionLimits) bool {
	count := c[client]
	if count == nil {
		count = new(clientCount)
		c[client] = count
	}
	if limits.PerClient == 0 || count.open < limits.PerClient {
		count.open++
		return true
	}

	if !count.refused && limits.Refused != nil {
		count.refused = true
		limits.Refused(client)
	}
	return false
}

// remove counts one connection of client less.
func (c clientCounts) remove(client string) {
	count := c[client]
	if count.open--; count.open == 0 {
		delete(c, client)
	}
}
