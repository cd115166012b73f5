//go:build linux

package sandbox

import (
	"context"
	"time"

	"clipper/sandbox/internal/netns"
)

// Processes lists the processes that are in the sandbox, by the host's ids:
// after Wait those that the program left behind. They lose their network when
// netd ends.
func (s *Sandbox) Processes() []int {
	var list []int
	if s.ns == 0 {
		return nil
	}
	netns.Processes(s.ns, func(pid int) bool {
		list = append(list, pid)
		return true
	})
	return list
}

// WaitAll waits until no process is left in the sandbox.
func (s *Sandbox) WaitAll(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(s.Processes()) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
