//go:build linux

package sandbox

import (
	"context"

	"clipper/sandbox/internal/netns"
)

// Processes lists the processes that are in the sandbox, by the host's ids:
// after Wait those that the program left behind. They lose their network when
// netd ends (see netd.Leave).
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
	if s.ns == 0 || netns.AwaitEmpty(ctx.Done(), s.ns) {
		return nil
	}
	return ctx.Err()
}
