// Package inject answers the notifications and does the ptrace dance: seize,
// stop, map, patch, detach. In flow notifications of execs and executable
// maps, out flow hooked programs and process events.
package inject

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"clipper/bus"
	"clipper/keyhook/internal/ring"
	"clipper/keyhook/internal/scan"
	"clipper/keyhook/internal/seccomp"
	"clipper/keyhook/internal/state"
)

// Limits.
const (
	maxDances   = 128              // at once; more are not hooked
	stallLimit  = time.Second      // of one look at a file (a FUSE file system served from inside may never answer)
	maxStalled  = 32               // receivers stuck so; then nothing is looked at any more
	settleLimit = 3 * time.Second  // of the dances under way at the end
	searchLimit = 10 * time.Second // of one search of a file, while the app waits
	processors  = 8                // at least, of the scheduler: a thread that waits in the kernel for a stop keeps one for a while
)

// Supervisor serves one listener.
type Supervisor struct {
	Listener int
	Killable bool // WAIT_KILLABLE_RECV is in force
	Ring     *ring.Ring
	State    *state.State
	// Report takes process events. It must not block. published, which may be
	// nil, is called when the event cannot be lost any more.
	Report func(e *bus.ProcEvent, published func())
	// JavaAgent is the option in JAVA_TOOL_OPTIONS that is ours, "" if there is none.
	JavaAgent string
	// CacheDir is where the results of long searches are kept; "": nowhere.
	CacheDir string
	// Log takes what only a developer wants to know; nil: nowhere.
	Log func(format string, args ...any)

	cache   *cache
	tracker *tracker
	again   sync.Map // tids that will be notified a second time (slowEntry)
	dancing sync.Map // *dance by tid: who may ask for the ring
	held    sync.Map // chan struct{} by tid: closed when its dance is over
	slots   chan struct{}
	off     atomic.Bool // only CONTINUE
	leaving atomic.Bool // what comes is our successor's, but for what the dances under way need

	Stats Stats
}

// Stats are counters, for tests and benchmarks.
type Stats struct {
	Execs, Maps, Dances, Hooked, Failed atomic.Uint64
}

func (s *Supervisor) logf(format string, args ...any) {
	if s.Log != nil {
		s.Log(format, args...)
	}
}

// Serve answers notifications until the last task under the filter is gone or
// stop is closed. It first lets go what a killed predecessor had taken.
func (s *Supervisor) Serve(stop <-chan struct{}) {
	quietStops()
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), processors))
	s.cache = newCache(s.CacheDir)
	s.slots = make(chan struct{}, maxDances)
	s.tracker = newTracker(s)
	defer func() { s.tracker.close(stop != nil) }()
	s.tracker.adopt()

	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		s.logf("eventfd: %v", err)
		return
	}
	ended := make(chan struct{})
	settle := sync.OnceFunc(s.settle)
	r := s.newReceiver(wake, ended)
	go r.run(s.State.Abandoned())
	tick := time.NewTicker(stallLimit / 4)
	defer tick.Stop()
	for stalled := 0; ; {
		select {
		case <-ended:
			settle()
			unix.Close(wake)
			return
		case <-stop:
			stop = nil
			s.leaving.Store(true)
			go func() {
				settle()
				unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}()
		case <-tick.C:
			if id := r.stalled(); id != 0 {
				s.answer(id)
				s.impossible(int(r.tid.Load()), nil, stuck)
				if stalled++; stalled >= maxStalled {
					s.off.Store(true)
				}
				r = s.newReceiver(wake, ended)
				go r.run(nil)
			}
		}
	}
}

// settle waits until no task is in a dance: the end of this process would let
// it go with borrowed registers.
func (s *Supervisor) settle() {
	limit := time.After(settleLimit)
	for range cap(s.slots) {
		select {
		case s.slots <- struct{}{}:
		case <-limit:
			return
		}
	}
}

// receiver takes notifications, one at a time. One that is stuck in a look at
// a file is replaced.
type receiver struct {
	s     *Supervisor
	wake  int
	ended chan struct{}
	id    atomic.Uint64 // of the notification at hand; who swaps it for 0 answers
	since atomic.Int64
	tid   atomic.Uint32
}

func (s *Supervisor) newReceiver(wake int, ended chan struct{}) *receiver {
	return &receiver{s: s, wake: wake, ended: ended}
}

// stalled takes the notification away from a receiver that is stuck.
func (r *receiver) stalled() uint64 {
	id := r.id.Load()
	if id == 0 || time.Now().UnixNano()-r.since.Load() < int64(stallLimit) || !r.id.CompareAndSwap(id, 0) {
		return 0
	}
	return id
}

// run serves what a killed predecessor had taken, then what comes.
func (r *receiver) run(abandoned []seccomp.Notification) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, n := range abandoned {
		phase := n.Flags
		n.Flags = 0
		if seccomp.Valid(r.s.Listener, n.ID) {
			if !r.serve(n) {
				return
			}
		} else if phase == state.Answered {
			r.s.missed(n)
		}
	}
	for r.next() {
	}
}

// missed reports a program that went on unhooked when our predecessor was
// killed.
func (s *Supervisor) missed(n seccomp.Notification) {
	id := n.ID
	n.Flags = state.Answered
	s.State.Begin(n) // until it is published
	s.Report(&bus.ProcEvent{Type: bus.ProcHook, Time: time.Now().UnixNano(), PID: threadGroup(int(n.TID)), Exe: readlink(procPath(int(n.TID), "exe")),
		State: bus.HookImpossible, Reason: missed.text, Help: missed.help},
		func() { s.State.End(id) })
}

// next serves one notification. It reports false when it is over.
func (r *receiver) next() bool {
	p := []unix.PollFd{{Fd: int32(r.s.Listener), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, -1); err == unix.EINTR {
		return true
	}
	if p[1].Revents != 0 || p[0].Revents&unix.POLLIN == 0 && p[0].Revents != 0 {
		close(r.ended)
		return false
	}
	if p[0].Revents&unix.POLLIN == 0 {
		return true
	}
	shared := r.s.State.Received()
	if err := seccomp.Receive(r.s.Listener, shared); err != nil {
		if err == unix.ENOENT || err == unix.EINTR {
			return true
		}
		r.s.logf("receive: %v", err)
		close(r.ended)
		return false
	}
	return r.serve(*shared)
}

func (r *receiver) serve(n seccomp.Notification) bool {
	if !r.s.State.Begin(n) {
		seccomp.Continue(r.s.Listener, n.ID)
		return true
	}
	r.since.Store(time.Now().UnixNano())
	r.tid.Store(n.TID)
	r.id.Store(n.ID)
	then := r.s.look(n)
	if !r.id.CompareAndSwap(n.ID, 0) {
		return false // replaced meanwhile
	}
	if then == nil {
		r.s.answer(n.ID)
	} else {
		then()
	}
	return true
}

// answer lets the kernel run the notified system call.
func (s *Supervisor) answer(id uint64) error {
	err := seccomp.Continue(s.Listener, id)
	s.State.End(id)
	return err
}

// look decides what to do about a notification: nil to continue, else a
// function that answers it, without blocking.
func (s *Supervisor) look(n seccomp.Notification) (then func()) {
	tid := int(n.TID)
	if c1, c2 := s.State.Cookie(); uint32(n.NR) == seccomp.Native.Execveat && n.Args[0] == c1 {
		switch n.Args[1] {
		case c2:
			return func() { s.giveRing(n) }
		case c2 + 1:
			return func() { s.asked(n) }
		}
	}
	if _, ok := s.again.LoadAndDelete(tid); ok || s.off.Load() {
		return nil
	}
	if s.leaving.Load() {
		return func() {}
	}
	if n.Arch == seccomp.Native.Audit && uint32(n.NR) == seccomp.Native.Mmap {
		s.Stats.Maps.Add(1)
		return s.lookMap(n)
	}
	s.Stats.Execs.Add(1)
	return s.lookExec(n)
}

func (s *Supervisor) giveRing(n seccomp.Notification) {
	defer s.State.End(n.ID)
	if _, ok := s.dancing.Load(int(n.TID)); !ok {
		seccomp.Fail(s.Listener, n.ID, unix.EBADF) // what the kernel would say
		return
	}
	if err := seccomp.GiveFD(s.Listener, n.ID, s.Ring.FD); err != nil {
		s.logf("%d: give the ring: %v", n.TID, err)
		seccomp.Fail(s.Listener, n.ID, unix.ENOSYS)
	}
}

// asked serves a task that ran into its way back: by a dance of ours, or as an
// orphan.
func (s *Supervisor) asked(n seccomp.Notification) {
	if d, ok := s.dancing.Load(int(n.TID)); !ok {
		if !s.leaving.Load() {
			s.adoptOrphan(n)
		}
	} else if !d.(*dance).hasLoaded(n.ID) {
		s.answer(n.ID)
	}
}

func (s *Supervisor) lookMap(n seccomp.Notification) func() {
	if n.Args[3]&unix.MAP_SHARED != 0 {
		return nil // what is written there may go to the file
	}
	path := procPath(int(n.TID), "fd", strconv.Itoa(int(int32(n.Args[4]))))
	res, known := s.cache.lookup(path)
	switch {
	case known && res != nil && res.SharedName == javaVM:
		return func() {
			s.keepAgentOut(int(n.TID), int32(n.Args[4]))
			s.answer(n.ID)
		}
	case known && !res.Hookable():
		if res != nil && res.Library != "" {
			return func() {
				s.answer(n.ID)
				s.hookEvent(int(n.TID), verdict(res))
			}
		}
		return nil
	case known:
		return func() { s.dance(n, res) }
	}
	return func() {
		go func() {
			if res := s.cache.search(path, searchLimit); res.Hookable() {
				s.dance(n, res)
			} else {
				if res != nil && res.SharedName == javaVM {
					s.keepAgentOut(int(n.TID), int32(n.Args[4]))
				}
				s.answer(n.ID)
				if res != nil && res.Library != "" {
					s.hookEvent(int(n.TID), verdict(res))
				}
			}
		}()
	}
}

// dance hooks what the notified call brings in.
func (s *Supervisor) dance(n seccomp.Notification, res *scan.Result) {
	s.startDance(&dance{s: s, n: n, res: res, tid: int(n.TID)})
}

// startDance runs d on a thread of its own, if there is one left.
func (s *Supervisor) startDance(d *dance) {
	select {
	case s.slots <- struct{}{}:
	default:
		if s.leaving.Load() {
			return
		}
		s.answer(d.n.ID)
		if d.res != nil {
			s.impossible(d.tid, d.res, crowded)
		}
		return
	}
	go func() {
		defer func() { <-s.slots }()
		runtime.LockOSThread()
		s.Stats.Dances.Add(1)
		if d.run() {
			runtime.UnlockOSThread()
		} // else the thread ends with the goroutine, and any tracee is free
	}()
}

func procPath(pid int, more ...string) string {
	p := "/proc/" + strconv.Itoa(pid)
	for _, m := range more {
		p += "/" + m
	}
	return p
}

func readlink(path string) string {
	l, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return l
}
