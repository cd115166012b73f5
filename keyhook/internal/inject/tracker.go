package inject

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"clipper/bus"
	"clipper/keyhook/internal/scan"
)

// Limits of the tracker.
const (
	maxTracked  = 4096 // processes whose exit is reported
	maxExpected = 1024 // execs that were let go and not seen to be done
	expectLimit = 2 * time.Second
	exitLag     = 100 // ms that a process may need to be dead once it has left its filter
)

// execution is an exec that was let go without ptrace. It is reported once it
// is seen to have happened.
type execution struct {
	tid   int
	pid   int
	pidfd int
	ppid  int
	key   fileKey // of the file that will run
	exe   string
	argv  []string
	res   *scan.Result
	since time.Time
}

// prepare takes hold of the process while it still waits for its answer.
func (x *execution) prepare() {
	x.pid, x.since = x.tid, time.Now()
	fd, err := unix.PidfdOpen(x.tid, 0)
	if err != nil { // a thread that is not the leader: it will take the leader's number
		x.pid = threadGroup(x.tid)
		fd, err = unix.PidfdOpen(x.pid, 0)
	}
	if x.pidfd = fd; err != nil {
		x.pidfd = -1
	}
	x.ppid, _, _ = stat(x.pid)
}

// process is a live process; start tells it from another of the same number.
type process struct {
	pid   int
	start uint64
}

// tracker reports execs and exits.
type tracker struct {
	s        *Supervisor
	epoll    int
	wake     int
	mu       sync.Mutex
	closed   bool
	expected []*execution
	pidfds   map[int]int     // pidfd by pid
	procs    map[int]process // by pidfd
	done     chan struct{}
}

func newTracker(s *Supervisor) *tracker {
	t := &tracker{s: s, epoll: -1, wake: -1, pidfds: map[int]int{}, procs: map[int]process{}, done: make(chan struct{})}
	var err error
	if t.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
			err = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, t.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(t.wake)})
		}
	}
	if err != nil {
		s.logf("no exec and exit events: %v", err)
		t.closed = true
		close(t.done)
		return t
	}
	go t.run()
	return t
}

func (t *tracker) kick() { unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// expect reports x when it is seen to have happened.
func (t *tracker) expect(x *execution) {
	t.mu.Lock()
	if t.closed || len(t.expected) >= maxExpected {
		t.mu.Unlock()
		if x.pidfd >= 0 {
			unix.Close(x.pidfd)
		}
		return
	}
	t.expected = append(t.expected, x)
	t.mu.Unlock()
	t.kick()
}

// executed reports an exec that is seen to be done: the task is stopped at
// its entry point.
func (t *tracker) executed(pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1
	}
	t.report(&execution{pid: pid, pidfd: fd, exe: readlink(procPath(pid, "exe")), since: time.Now()})
}

// adopt takes the processes over that a predecessor had tracked. Their last
// exec is reported again: the event may have died with the predecessor.
func (t *tracker) adopt() {
	for pid, start := range t.s.State.Processes() {
		fd, err := unix.PidfdOpen(pid, 0)
		_, now, ok := stat(pid)
		if err == nil && ok && now == start {
			t.report(&execution{pid: pid, pidfd: fd, exe: readlink(procPath(pid, "exe")), since: time.Now()})
			continue
		}
		if err == nil {
			unix.Close(fd)
		}
		t.exited(process{pid, start})
	}
}

// track watches for the exit of a process, and takes over fd.
func (t *tracker) track(p process, fd int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.pidfds[p.pid]; ok || t.closed || len(t.pidfds) >= maxTracked {
		return false
	}
	if err := unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return false
	}
	t.pidfds[p.pid], t.procs[fd] = fd, p
	return true
}

// exited reports an exit. Until that is published a successor would find the
// process in the table and report it as well.
func (t *tracker) exited(p process) {
	t.s.Report(&bus.ProcEvent{Type: bus.ProcExit, Time: time.Now().UnixNano(), PID: p.pid},
		func() { t.s.State.RemoveProcess(p.pid, p.start) })
}

// report publishes an exec and watches for the exit.
func (t *tracker) report(x *execution) {
	e := &bus.ProcEvent{Type: bus.ProcExec, Time: x.since.UnixNano(), PID: x.pid, Exe: x.exe, Argv: x.argv, Cwd: readlink(procPath(x.pid, "cwd"))}
	if args := commandLine(x.pid); args != nil {
		e.Argv = args
	}
	parent, start, alive := stat(x.pid)
	if e.Parent = parent; !alive {
		e.Parent = x.ppid
	}
	t.s.Report(e, nil)
	if h := verdict(x.res); h != nil {
		h.Type, h.Time, h.PID, h.Exe = bus.ProcHook, e.Time, x.pid, x.exe
		t.s.Report(h, nil)
	}
	if x.pidfd < 0 {
		return
	}
	if alive {
		t.s.State.AddProcess(x.pid, start)
	}
	if p := (process{x.pid, start}); !t.track(p, x.pidfd) {
		t.check(p, x.pidfd, 0)
	}
}

// check closes a pidfd that is not watched, and reports the exit if it has
// happens within some milliseconds. The process may be tracked by another pidfd.
func (t *tracker) check(p process, fd, ms int) {
	defer unix.Close(fd)
	t.mu.Lock()
	_, tracked := t.pidfds[p.pid]
	t.mu.Unlock()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, ms); !tracked && err == nil && n == 1 {
		t.exited(p)
	}
}

func (t *tracker) run() {
	defer close(t.done)
	events := make([]unix.EpollEvent, 64)
	for wait := -1; ; {
		n, err := unix.EpollWait(t.epoll, events, wait)
		if err != nil && err != unix.EINTR {
			return
		}
		// Execs first: the exit of a program that was quick is there already.
		left := t.checkExpected()
		for _, ev := range events[:max(n, 0)] {
			if fd := int(ev.Fd); fd == t.wake {
				var b [8]byte
				unix.Read(fd, b[:])
			} else {
				t.gone(fd)
			}
		}
		t.mu.Lock()
		closed := t.closed
		t.mu.Unlock()
		if closed && left == 0 {
			return
		}
		wait = -1
		if left > 0 {
			wait = 1
		}
	}
}

// checkExpected reports the expected execs that have happened, and returns how
// many are open.
func (t *tracker) checkExpected() int {
	t.mu.Lock()
	open, closed := t.expected, t.closed
	t.expected = nil
	t.mu.Unlock()
	var later []*execution
	for _, x := range open {
		now, ok := statKey(procPath(x.pid, "exe"))
		switch {
		case !ok || now.dev == x.key.dev && now.ino == x.key.ino: // done, or done and gone
			t.report(x)
		case time.Since(x.since) < expectLimit && !closed:
			later = append(later, x)
		case x.pidfd >= 0: // it failed
			unix.Close(x.pidfd)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expected = append(later, t.expected...)
	return len(t.expected)
}

func (t *tracker) gone(fd int) {
	t.mu.Lock()
	p, ok := t.procs[fd]
	if ok {
		delete(t.procs, fd)
		delete(t.pidfds, p.pid)
	}
	t.mu.Unlock()
	if !ok {
		return
	}
	unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	unix.Close(fd)
	t.exited(p)
}

// close reports what is left and ends the tracker. last: the listener says that
// all of them are gone.
func (t *tracker) close(last bool) {
	t.mu.Lock()
	was := t.closed
	t.closed = true
	t.mu.Unlock()
	if was {
		return
	}
	t.kick()
	<-t.done
	clear(t.pidfds)
	dying := 0
	if last {
		dying = exitLag
	}
	for fd, p := range t.procs {
		t.check(p, fd, dying)
	}
	unix.Close(t.wake)
	unix.Close(t.epoll)
}
