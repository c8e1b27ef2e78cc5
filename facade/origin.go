package facade

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// refuseOtherOrigins refuses requests of pages of another origin: a browser would make them from inside the user's
// network. Browsers say in Origin and Sec-Fetch-Site where a request comes from; other clients send neither, and are
// let through. Public paths are served to all.
//
// Errors: [*originError], [*hostError].
func (f *Facade) refuseOtherOrigins(c *fiber.Ctx) error {
	if public(c.Path()) {
		return c.Next()
	}

	if !f.knownHost(c) {
		return &hostError{host: strings.Clone(c.Get(fiber.HeaderHost))}
	}
	origin := c.Get(fiber.HeaderOrigin)
	switch site := c.Get("Sec-Fetch-Site"); {
	case origin != "":
		if !sameOrigin(origin, c.Get(fiber.HeaderHost)) && !f.originAllowed(origin) {
			return &originError{origin: strings.Clone(origin)}
		}
	case site == "cross-site" || site == "same-site":
		// A link, an image or a form of another page: browsers send no Origin with those.
		if f.opts.CORSOrigins != "*" {
			return &originError{origin: site}
		}
	}
	return c.Next()
}

// originAllowed reports whether the settings let pages of that origin in.
func (f *Facade) originAllowed(origin string) bool {
	allows := func(allowed string) bool {
		allowed = strings.TrimSuffix(strings.TrimSpace(allowed), "/")
		if scheme, domain, found := strings.Cut(allowed, "://*."); found {
			return strings.HasPrefix(origin, scheme+"://") && strings.HasSuffix(origin, "."+domain)
		}
		return allowed == "*" || strings.EqualFold(allowed, origin)
	}
	return slices.ContainsFunc(strings.Split(f.opts.CORSOrigins, ","), allows)
}

// sameOrigin reports whether a page of that origin was served under the host that the request names. A proxy may have
// ended TLS in between, so the scheme only decides which port is meant when none is named.
func sameOrigin(origin, host string) bool {
	page, err := url.Parse(origin)
	if err != nil || page.Host == "" {
		return false
	}
	port := map[string]string{"http": ":80", "https": ":443"}[page.Scheme]
	return strings.EqualFold(strings.TrimSuffix(page.Host, port), strings.TrimSuffix(host, port))
}

// knownHost reports whether a request may name this host. Otherwise a page could make its own name resolve to the
// broker's address (DNS rebinding), and would have the broker's origin. Where tokens are needed, such a page has none,
// so any name is allowed: a proxy may use any.
//
// On an address that other machines reach, programs may know the broker by any name, so only the hosts of browsers are
// checked. Over TLS browsers check the name themselves.
func (f *Facade) knownHost(c *fiber.Ctx) bool {
	if f.opts.Tokens != nil || f.opts.CORSOrigins == "*" {
		return true
	}
	if !f.local && (f.opts.TLS != nil || !fromBrowser(c)) {
		return true
	}

	host := c.Get(fiber.HeaderHost)
	return f.ownName(host) || f.originAllowed("http://"+host) || f.originAllowed("https://"+host)
}

// fromBrowser reports whether a browser may have made a request. A page cannot suppress all of these headers, nor
// change those that begin with Sec-. On plain HTTP, browsers send no Sec- header, and with a GET no Origin. The fetch
// of Node.js sends Accept-Language too, with Sec-Fetch-Mode and without Sec-Fetch-Site.
func fromBrowser(c *fiber.Ctx) bool {
	header := &c.Request().Header
	has := func(name string) bool { return len(header.PeekAll(name)) > 0 } // it may be empty
	return has(fiber.HeaderOrigin) || has("Sec-Fetch-Site") ||
		has(fiber.HeaderAcceptLanguage) && !has("Sec-Fetch-Mode") ||
		bytes.HasPrefix(header.UserAgent(), []byte("Mozilla/"))
}

// ownName reports whether a host is an address, or a name that nobody can have in the public DNS: one without a dot,
// one for private use, or the name of this machine.
func (f *Facade) ownName(host string) bool {
	name := host
	if before, _, err := net.SplitHostPort(host); err == nil {
		name = before
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil || name == f.hostname {
		return true
	}

	private := []string{".localhost", ".local", ".internal", ".home.arpa"}
	return slices.ContainsFunc(private, func(zone string) bool { return strings.HasSuffix(name, zone) })
}

// isLoopback reports whether only this machine can reach a listener.
func isLoopback(l net.Listener) bool {
	if l == nil {
		return false
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// originError is a request of a page of another origin.
type originError struct{ origin string }

func (e *originError) Error() string {
	return fmt.Sprintf("pages of another origin (%.200q) may not call this broker: "+
		"name the origin in DQ_CORS_ORIGINS to let them in", e.origin)
}

// hostError refuses a request for a host whose name may belong to somebody else.
type hostError struct{ host string }

func (e *hostError) Error() string {
	return fmt.Sprintf("the broker does not accept host %.200q: use its IP address, localhost, a name without dots, "+
		"or name the origin in DQ_CORS_ORIGINS", e.host)
}
