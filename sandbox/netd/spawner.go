//go:build linux

package netd

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"unsafe"

	"clipper/sandbox/internal/netns"

	"golang.org/x/sys/unix"
)

// Leave is the byte that tells netd, over LifeFD, that the spawner ends and
// leaves the network to the processes that the program left running.
const Leave = '+'

// followSpawner acts on the end of the spawner. left is called when the network
// has been left to the rest of the sandbox, and done when that has ended, too. A
// spawner that was killed takes everything in the sandbox with it. clear removes
// what was left besides the network.
func followSpawner(o Options, left, done func()) (clear func(), err error) {
	ns, err := netns.OfSocket(o.DiagFD)
	if err != nil {
		return nil, fmt.Errorf("netd: %w", err)
	}
	life := os.NewFile(uintptr(o.LifeFD), "life")
	var remains atomic.Bool
	go func() {
		if n, _ := life.Read(make([]byte, 1)); n == 1 {
			remains.Store(o.Remains != "")
			if o.ListenerFD != 0 {
				go continueAll(o.ListenerFD)
			}
			left()
			// Nothing of the spawner's is in use any more.
			unix.Chdir("/")
			if null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
				unix.Dup3(null, 2, 0)
			}
			netns.AwaitEmpty(nil, ns)
			done()
			return
		}
		netns.KillAll(ns)
		if len(o.Orphaned) > 0 {
			err := unix.Exec("/proc/self/exe", o.Orphaned, os.Environ())
			fmt.Fprintln(os.Stderr, "clipper netd:", err)
		}
		os.Exit(1)
	}()
	return func() {
		if remains.Load() {
			io.Copy(io.Discard, life) // the spawner itself may still use it
			os.RemoveAll(o.Remains)
		}
	}, nil
}

// continueAll lets every system call go on that the sandbox's seccomp filter
// asks about (seccomp_unotify(2)): without anybody who answers they would fail.
func continueAll(listener int) {
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil || fds[0].Revents&unix.POLLIN == 0 {
			return // nobody has the filter any more
		}
		var request struct {
			id         uint64
			pid, flags uint32
			data       [64]byte
		}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&request)))
		switch errno {
		case 0:
		case unix.EINTR, unix.ENOENT: // the task that asked has ended
			continue
		default:
			return
		}
		answer := struct {
			id    uint64
			value int64
			errno int32
			flags uint32
		}{id: request.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
	}
}
