//go:build linux

// Package netns tells which processes are in a network namespace.
package netns

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ID is the inode of a namespace in nsfs.
type ID uint64

// OfSocket is the namespace of a socket (ioctl_ns: SIOCGSKNS). The caller must
// own the namespace's user namespace or be in it.
func OfSocket(fd int) (ID, error) {
	n, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return 0, fmt.Errorf("network namespace of a socket: %w", err)
	}
	defer unix.Close(n)
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		return 0, fmt.Errorf("network namespace of a socket: %w", err)
	}
	return ID(st.Ino), nil
}

// OfProcess is the namespace of a process. It fails for a process that the
// caller may not look into, which then is not in a sandbox of the caller's.
func OfProcess(pid int) (ID, error) {
	s, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(s, "net:["), "]"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("namespace %q of process %d: %w", s, pid, err)
	}
	return ID(n), nil
}

// Processes calls f for each process in a namespace, the newest first, until f
// returns false.
func Processes(id ID, f func(pid int) bool) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1) // in the order of the pids
	for _, name := range slices.Backward(names) {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ns, err := OfProcess(pid); err == nil && ns == id && !f(pid) {
			return nil
		}
	}
	return err
}

// first is a process in a namespace, 0 if there is none.
func first(id ID) (pid int) {
	Processes(id, func(p int) bool {
		pid = p
		return false
	})
	return pid
}

// AwaitEmpty returns true when no process is left in a namespace, false after
// something was received from stop, which may be nil.
func AwaitEmpty(stop <-chan struct{}, id ID) bool {
	const stopPoll = 100 // ms
	timeout := -1
	if stop != nil {
		timeout = stopPoll
	}
	// Twice: a process may hide from one look by forking meanwhile.
	for looks := 0; looks < 2; {
		select {
		case <-stop:
			return false
		default:
		}
		pid := first(id)
		if pid == 0 {
			looks++
			continue
		}
		looks = 0
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		// The number may be another process's by now.
		if ns, err := OfProcess(pid); err == nil && ns == id {
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, timeout)
		}
		unix.Close(fd)
	}
	return true
}

// KillAll kills every process in a namespace, those included that they start
// meanwhile.
func KillAll(id ID) {
	const rounds = 1000 // whoever forks faster than that is let go
	for range rounds {
		killed := false
		Processes(id, func(pid int) bool {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return true
			}
			defer unix.Close(fd)
			if ns, err := OfProcess(pid); err == nil && ns == id {
				killed = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil || killed
			}
			return true
		})
		if !killed {
			return
		}
	}
}
