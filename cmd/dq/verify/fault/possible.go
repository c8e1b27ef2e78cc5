package fault

import (
	"os"

	"dq/cmd/dq/verify/history"
)

// Possible returns the faults that can be made on this machine: with brokers of
// our own those that d promises to survive, otherwise only that clients hang up.
func Possible(d Deployment, own bool) (faults []string) {
	if !own {
		return []string{history.FaultClients}
	}
	for _, fault := range history.AllFaults {
		if d.possible(fault) {
			faults = append(faults, fault)
		}
	}
	return faults
}

func (d *Deployment) possible(fault string) bool {
	if d.Memory && losesMemory(fault) {
		return false
	}
	switch fault {
	case history.FaultDisk:
		return canMount()
	case history.FaultPause, history.FaultFiles:
		return canSignal
	}
	return true
}

// canMount reports whether this process may mount file systems.
func canMount() bool {
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	return mountSmall(dir, 1<<20) == nil && unmount(dir) == nil
}
