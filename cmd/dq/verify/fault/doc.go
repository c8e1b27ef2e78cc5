// Package fault runs brokers in processes of their own and breaks them in known
// ways while traffic runs: it kills, restarts and stops them, fills their disk and
// uses up their file descriptors.
//
//   - deployment.go: which brokers are started, with which settings?
//   - breaker.go: when is which broker broken, and how?
//   - disk.go: how is the disk filled, and when has a broker recovered from that?
//   - possible.go: which faults can be made on this machine?
//   - process.go: how is a broker started and ended? (process_unix.go and
//     process_windows.go hold what depends on the system, disk_linux.go and
//     disk_other.go the same for the small file system)
package fault
