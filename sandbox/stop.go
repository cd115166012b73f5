//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
	"unsafe"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// followStops stops the spawner when the program has been stopped, as by
// `kill -STOP $$`, so that the shell that waits for the spawner sees its job
// stopped. A ^Z reaches both at once, and the spawner must not stop before the
// program: the shell would take the terminal back from a program that still reads
// what is typed next, or that goes on because it takes no ^Z. With KillAll the
// child is init, which never stops, and nobody tells of its child.
//
// When it returns, the signals are caught; it goes on beside until the program ends.
func followStops(p *stage.Process, killAll bool) {
	c, continued, typed := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	signal.Notify(typed, unix.SIGTSTP)
	signal.Notify(c, unix.SIGCHLD)
	go func() {
		defer signal.Stop(continued)
		defer signal.Stop(typed)
		defer signal.Stop(c)
		repeatStops(p, killAll, c, continued, typed)
	}()
}

// repeatStops does what followStops says, by SIGCHLD, SIGCONT and SIGTSTP.
func repeatStops(p *stage.Process, killAll bool, c, continued, typed <-chan os.Signal) {
	isStopped := func() bool { return stopped(p.PID) }
	if killAll {
		isStopped = func() bool { return childStopped(p.PID) }
	}
	for {
		select {
		case <-p.Done():
			return
		case <-typed:
			for end := time.Now().Add(typedTime); killAll && !isStopped() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		case <-c:
		}
		if !isStopped() {
			continue
		}
		// After a stop of the whole job and fg both are continued, one after the other.
		time.Sleep(50 * time.Millisecond)
		if !isStopped() {
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

// typedTime is how long a program may take to stop after ^Z.
const typedTime = 2 * time.Second

// childStopped reports whether the program that init started, its eldest child, is
// stopped.
func childStopped(init int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", init))
	if err != nil {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", init))
		return err == nil // a kernel that does not tell (CONFIG_PROC_CHILDREN): as if it were
	}
	pid, _, _ := strings.Cut(string(b), " ")
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return strings.HasPrefix(state, "T")
}

// stopped reports whether a child is stopped, and leaves its status to be
// waited for. Stops of a traced child go to its tracer only.
func stopped(pid int) bool {
	var info [128]byte // siginfo_t
	_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_PID, uintptr(pid), uintptr(unsafe.Pointer(&info)), unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
	return e == 0 && *(*int32)(unsafe.Pointer(&info)) == int32(unix.SIGCHLD)
}
