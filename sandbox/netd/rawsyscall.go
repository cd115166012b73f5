//go:build linux

package netd

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// System calls on descriptors that never block, made without telling Go's
// scheduler. It would otherwise take the processor away from a call that lasts
// 20 µs, as the write of a packet into the kernel's TCP does, and waking threads
// for that costs more than the call.

func rawWritev(fd int, iov []unix.Iovec) unix.Errno {
	for {
		_, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		if e != unix.EINTR {
			return e
		}
	}
}

func rawWrite(fd int, b []byte) unix.Errno {
	for {
		_, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e != unix.EINTR {
			return e
		}
	}
}

func rawRead(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// rawSend sends on a connected socket, without SIGPIPE.
func rawSend(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// epollWait waits up to wait, forever if it is negative. Where epoll_pwait2(2)
// (Linux 5.11) is not known it waits up to a millisecond longer.
func epollWait(ep int, events []unix.EpollEvent, wait time.Duration) int {
	at, room := uintptr(unsafe.Pointer(&events[0])), uintptr(len(events))
	if wait == 0 {
		n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), at, room, 0, 0, 0)
		if e != 0 {
			return 0
		}
		return int(n)
	}
	var limit *unix.Timespec
	milliseconds := -1
	if wait > 0 {
		ts := unix.NsecToTimespec(int64(wait))
		limit, milliseconds = &ts, int((wait+time.Millisecond-1)/time.Millisecond)
	}
	n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep), at, room, uintptr(unsafe.Pointer(limit)), 0, 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		n, _, e = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), at, room, uintptr(milliseconds), 0, 0)
	}
	if e != 0 {
		return 0
	}
	return int(n)
}
