package fault

import "os/exec"

const canSignal = false

func ownGroup(*exec.Cmd)                             {}
func pause(*process)                                 {}
func resume(*process)                                {}
func withFileLimit(command []string, _ int) []string { return command }
