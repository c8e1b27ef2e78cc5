// Package transport has the parts of an HTTP server that do not depend on its calls:
// connections, request bodies, limits against overload and deadlines. It knows no
// path and no operation of dq.
//
// The files: config.go sets the HTTP server up, listener.go knows the connections that are open, clients.go counts
// those of each client, connection.go has what one connection can do, framing.go refuses requests that servers could
// read in two ways, body.go reads request bodies, bodybudget.go bounds their memory, pace.go ends transfers that are
// too slow while others wait for memory, overload.go bounds what else the broker takes at once, deadline.go has cheap
// deadlines, openfiles_linux.go and openfiles_other.go find the limit of open files.
package transport
