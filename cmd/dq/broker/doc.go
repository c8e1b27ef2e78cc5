// Package broker runs a whole broker in one process: it reads the configuration from the environment and starts and
// stops the engine, the registry and the facade.
package broker
