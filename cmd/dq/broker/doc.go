// Package broker wires a whole broker together in one process: its
// configuration from the environment, the engine, the registry and the facade.
// It is the one place that starts and stops things.
package broker
