//go:build linux

package sandbox

import (
	"os"
	"os/signal"
	"time"
	"unsafe"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// followStops stops the spawner when the program has been stopped, as by
// `kill -STOP $$`, so that the shell that waits for the spawner sees its job
// stopped. A ^Z reaches both at once, and the spawner must not stop before the
// program: the shell would take the terminal back from a program that still reads
// what is typed next, or that goes on because it takes no ^Z. Only with KillAll it
// does, for then the child is init, which never stops.
func followStops(p *stage.Process, killAll bool) {
	c, continued, typed := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if !killAll {
		signal.Notify(typed, unix.SIGTSTP)
		defer signal.Stop(typed)
	}
	signal.Notify(c, unix.SIGCHLD)
	defer signal.Stop(c)
	c <- nil // a program may have stopped before anybody listened
	for {
		select {
		case <-p.Done():
			return
		case <-typed:
		case <-c:
		}
		if !stopped(p.PID) {
			continue
		}
		// After a stop of the whole job and fg both are continued, one after the other.
		time.Sleep(50 * time.Millisecond)
		if !stopped(p.PID) {
			continue
		}
		select { // of an earlier stop
		case <-continued:
		default:
		}
		unix.Kill(os.Getpid(), unix.SIGSTOP)
		<-continued
		p.Signal(unix.SIGCONT) // it may be in another process group
	}
}

// stopped reports whether a child is stopped, and leaves its status to be
// waited for. Stops of a traced child go to its tracer only.
func stopped(pid int) bool {
	var info [128]byte // siginfo_t
	_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(pid), uintptr(unsafe.Pointer(&info)), unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
	return e == 0 && *(*int32)(unsafe.Pointer(&info)) == int32(unix.SIGCHLD)
}
