package roles

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// yieldBy is how much nicer than the app is what can wait (nice(2)): where
// processors are short a thread of the app gets three times the share. With
// more, the view would fall far behind a busy app of many threads.
const yieldBy = 5

// forker starts processes from one thread that lives as long as this process:
// PDEATHSIG follows the thread that forked, not the process, and the nice value
// is inherited from it.
type forker struct {
	once  sync.Once
	calls chan func()
	tid   int
}

func (p *forker) run(f func()) {
	p.once.Do(p.start)
	done := make(chan struct{})
	p.calls <- func() { f(); close(done) }
	<-done
}

func (p *forker) start() {
	p.calls = make(chan func())
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		// A ^Z that stopped a child before its execve would keep this process in
		// vfork, so that it could not stop. Roles never do, by what they inherit.
		var stops unix.Sigset_t
		for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
			stops.Val[0] |= 1 << (sig - 1)
		}
		unix.PthreadSigmask(unix.SIG_BLOCK, &stops, nil)
		p.tid = unix.Gettid()
		close(ready)
		for f := range p.calls {
			f()
		}
	}()
	<-ready
}

// fork runs f, which starts a process, on the thread for processes that yield or
// on that for the others.
func (s *Supervisor) fork(yields bool, f func()) {
	if !yields {
		s.forker.run(f)
		return
	}
	to := s.yielded()
	s.yielding.run(func() {
		raiseNice(s.yielding.tid, to)
		f()
	})
}

// yielded is the nice value of what yields.
func (s *Supervisor) yielded() int {
	s.forker.run(func() {})
	return min(niceOf(s.forker.tid)+yieldBy, 19)
}

// Yield makes this process give way to the app as the roles do that yield. What
// it starts from now on is as nice as it would have been without.
func (s *Supervisor) Yield() {
	to := s.yielded()
	// A thread is as nice as the one that makes it, which is never a forker: the
	// runtime takes another one for a thread that is locked.
	for again := true; again; {
		again = false
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, t := range tasks {
			if tid, err := strconv.Atoi(t.Name()); err == nil && tid != s.forker.tid {
				again = raiseNice(tid, to) || again
			}
		}
	}
}

// niceOf is the nice value of a thread, 0 if that cannot be told.
func niceOf(tid int) int {
	n, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		return 0
	}
	return 20 - n // as the system call has it
}

// raiseNice reports whether it raised the nice value of a thread.
func raiseNice(tid, to int) bool {
	return niceOf(tid) < to && unix.Setpriority(unix.PRIO_PROCESS, tid, to) == nil
}
