package engine

import "github.com/nats-io/nats-server/v2/server"

// Version returns the version of the nats-server inside, such as "v2.15.2".
func Version() string { return "v" + server.VERSION }
