package inject

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ptraceGetSigmask = 0x420a
	ptraceSetSigmask = 0x420b

	saNoCldStop = 1 // SA_NOCLDSTOP
)

// seize attaches without stopping. No EXITKILL: if this process is killed the
// task is let go by the kernel.
func seize(tid int) error {
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0,
		unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_TRACESYSGOOD, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// quietStops keeps the kernel from sending SIGCHLD for each stop of a tracee:
// every one would interrupt a thread of this process, and wait4 does without.
// The ends of children still send it.
func quietStops() {
	var a struct { // struct sigaction of the kernel
		handler uintptr
		flags   uint64
		rest    [2]uint64
	}
	const maskSize = 8
	if _, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, uintptr(unsafe.Pointer(&a)), maskSize, 0, 0); e == 0 {
		a.flags |= saNoCldStop
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&a)), 0, maskSize, 0, 0)
	}
}

// wait returns the next stop of this thread's only tracee. Its number changes
// when a thread that is not the leader execs, hence -1. Not another thread's
// tracees or children: WNOTHREAD.
func wait() (tid int, ws unix.WaitStatus, err error) {
	for {
		tid, err = unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if err != unix.EINTR {
			return tid, ws, err
		}
	}
}

func event(ws unix.WaitStatus) int { return int(ws) >> 16 }

// syscallStop is the stop of PTRACE_SYSCALL, by PTRACE_O_TRACESYSGOOD.
const syscallStop = unix.SIGTRAP | 0x80

// deliver is the signal to pass on when continuing from a stop: that of a
// signal-delivery stop, else none.
func deliver(ws unix.WaitStatus) int {
	if event(ws) != 0 || ws.StopSignal() == syscallStop {
		return 0
	}
	return int(ws.StopSignal())
}

func sigmask(tid int) (mask uint64, err error) {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, ptraceGetSigmask, uintptr(tid), 8, uintptr(unsafe.Pointer(&mask)), 0, 0); e != 0 {
		return 0, e
	}
	return mask, nil
}

func setSigmask(tid int, mask uint64) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, ptraceSetSigmask, uintptr(tid), 8, uintptr(unsafe.Pointer(&mask)), 0, 0); e != 0 {
		return e
	}
	return nil
}

// detach lets a stopped task go, with a signal.
func detach(tid, sig int) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(sig), 0, 0); e != 0 {
		return e
	}
	return nil
}
