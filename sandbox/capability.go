//go:build linux

package sandbox

import (
	"fmt"
	"os"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// dropCapabilities takes from the calling thread what stage 1 had more than the
// caller of Start. Root keeps in the namespaces the capabilities that it is
// allowed outside, its bounding set: its programs expect them.
func dropCapabilities(bounding uint64) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	root := os.Geteuid() == 0
	if have := stage.Bounding(); root {
		for c := uintptr(0); c < 64; c++ {
			if have&^bounding&(1<<c) == 0 {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&hdr, &d[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	for i := range d {
		d[i].Inheritable = 0
		if !root {
			d[i].Permitted, d[i].Effective = 0, 0
		}
	}
	if err := unix.Capset(&hdr, &d[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}
