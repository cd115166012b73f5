package inject

import "clipper/keyhook/internal/state"

// Identify turns what a writer of the ring said of itself into numbers of the
// supervisor's pid namespace. The writer may be a fork of the hooked process,
// may live in another pid namespace, may be gone and may lie: what cannot be
// confirmed gives the hooked process, and no thread.
func Identify(im state.Image, pid, tid int) (int, int) {
	switch {
	case pid <= 0 || tid <= 0:
		return im.PID, 0
	case pid == im.PID:
		return pid, tid
	case readlink(procPath(pid, "exe")) == im.Executable && threadGroup(tid) == pid:
		return pid, tid // a fork
	}
	return im.PID, 0
}

// Executable is the path of a process's program, "" if it is gone.
func Executable(pid int) string {
	if pid <= 0 {
		return ""
	}
	return readlink(procPath(pid, "exe"))
}
