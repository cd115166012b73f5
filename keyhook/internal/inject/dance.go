package inject

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/payload"
	"clipper/keyhook/internal/scan"
	"clipper/keyhook/internal/seccomp"
	"clipper/keyhook/internal/state"
)

// dance stops one task at the end of its notified system call, hooks what
// there is, and lets it go. It runs on a locked thread that has no other
// tracee.
type dance struct {
	s    *Supervisor
	n    seccomp.Notification
	res  *scan.Result // nil for an exec: the file is looked at when it runs
	tid  int
	exec bool // the notified call is an exec ...
	done bool // ... and has happened

	orphan bool // it is the call of an orphan instead

	announcing chan struct{} // closed when the exec is reported; nil: not begun

	loading atomic.Uint32 // a futex: see load
	loaded  atomic.Uint64 // the notification that says so
}

// errGone: the task died, or its call was cancelled and will come again.
var errGone = errors.New("the task went away")

// run does it all. It reports false when the thread must not be used again.
func (d *dance) run() bool {
	defer d.s.State.End(d.n.ID)
	d.exec = !d.orphan && (d.n.Arch != seccomp.Native.Audit || uint32(d.n.NR) != seccomp.Native.Mmap)
	defer d.s.hold(d.tid)()
	if !seccomp.Valid(d.s.Listener, d.n.ID) {
		return true // it was interrupted, and asks or has asked again
	}
	if err := seize(d.tid); err != nil {
		// Already traced (gdb, strace), or not ours: leave it alone.
		d.untraceable(err)
		return true
	}
	if !seccomp.Valid(d.s.Listener, d.n.ID) {
		// Killed, or (without WAIT_KILLABLE_RECV) interrupted by a signal: it
		// will ask again. Perhaps another task has the number by now.
		return d.release()
	}
	ws, err := d.stop()
	if errors.Is(err, errSignal) {
		d.s.again.Delete(d.tid) // the next notification is a new one
		return detach(d.tid, deliver(ws)) == nil
	}
	if err != nil {
		return !ws.Stopped()
	}
	d.s.dancing.Store(d.tid, d)
	if d.orphan {
		err = d.hookOrphan()
	} else {
		err = d.hook()
	}
	d.s.dancing.Delete(d.tid)
	d.announce()
	if errors.Is(err, errGone) {
		return false
	}
	if err != nil {
		d.s.Stats.Failed.Add(1)
		d.s.logf("%d: %v", d.tid, err)
		d.s.impossible(d.tid, d.res, failed(err))
	}
	return unix.PtraceDetach(d.tid) == nil
}

// hold waits until no other dance has the task: without WAIT_KILLABLE_RECV a
// signal makes it ask again while the dance of its first question begins.
func (s *Supervisor) hold(tid int) (release func()) {
	mine := make(chan struct{})
	for {
		other, taken := s.held.LoadOrStore(tid, mine)
		if !taken {
			return func() {
				s.held.Delete(tid)
				close(mine)
			}
		}
		<-other.(chan struct{})
	}
}

func (d *dance) untraceable(err error) {
	d.s.logf("seize %d: %v", d.tid, err)
	d.s.Stats.Failed.Add(1)
	why := untraceable(err)
	if t, ok := statusField(d.tid, "TracerPid"); ok && t != 0 {
		why = traced
	}
	if d.exec {
		x := &execution{tid: d.tid}
		x.prepare()
		d.s.answer(d.n.ID)
		d.s.tracker.expect(x)
	} else {
		d.s.answer(d.n.ID)
	}
	d.s.impossible(d.tid, d.res, why)
}

// stop answers the notification and brings the task to a stop behind the
// system call, before it runs one more of its own instructions.
func (d *dance) stop() (unix.WaitStatus, error) {
	if d.s.Killable {
		// The task sleeps killably: the interrupt stays pending until the call
		// is done.
		unix.PtraceInterrupt(d.tid)
		d.s.State.Mark(d.n.ID, state.Answered)
		seccomp.Continue(d.s.Listener, d.n.ID)
	} else if ws, err := d.restart(); err != nil {
		return ws, err
	}
	for {
		tid, ws, err := wait()
		if err != nil {
			return ws, err
		}
		if !ws.Stopped() {
			if tid == d.tid {
				return ws, errGone
			}
			continue
		}
		d.tid = tid
		switch {
		case event(ws) == unix.PTRACE_EVENT_EXEC:
			// Registers set here would lose the result register to execve's
			// own return: go on to the return to user mode.
			d.done = true
			unix.PtraceInterrupt(tid)
			unix.PtraceCont(tid, 0)
		case event(ws) == unix.PTRACE_EVENT_STOP:
			return ws, nil
		case event(ws) == 0 && ws.StopSignal() == syscallStop:
			// By restart's way: behind the call, or an exec that failed.
			var r registers
			if r.get(tid) == nil && interrupted(r.result()) {
				return ws, errSignal
			}
			return ws, nil
		default: // a signal on its way
			unix.PtraceInterrupt(tid)
			unix.PtraceCont(tid, deliver(ws))
		}
	}
}

// restart is for kernels without WAIT_KILLABLE_RECV (5.5 to 5.18): the
// interrupt cancels the notification, and the call is restarted under
// PTRACE_SYSCALL. It is notified a second time, which the receiver answers.
func (d *dance) restart() (unix.WaitStatus, error) {
	unix.PtraceInterrupt(d.tid)
	_, ws, err := wait()
	if err != nil || !ws.Stopped() {
		return ws, errGone
	}
	if deliver(ws) != 0 {
		return ws, errSignal
	}
	d.s.again.Store(d.tid, true)
	unix.PtraceSyscall(d.tid, 0)
	_, ws, err = wait()
	if err != nil || !ws.Stopped() {
		return ws, errGone
	}
	if ws.StopSignal() != syscallStop {
		d.s.again.Delete(d.tid)
		return ws, errSignal
	}
	unix.PtraceSyscall(d.tid, 0)
	return ws, nil
}

// interrupted reports whether a result is one of the kernel's -ERESTART*.
func interrupted(result uint64) bool { return int64(result) <= -512 && int64(result) >= -516 }

// errSignal: a signal came between. The task gets it first, and its call is
// made and notified once more behind the handler.
var errSignal = errors.New("a signal came first")

// release lets a seized task go that is not stopped.
func (d *dance) release() bool {
	unix.PtraceInterrupt(d.tid)
	for {
		tid, ws, err := wait()
		if err != nil || !ws.Stopped() {
			return true
		}
		if event(ws) == unix.PTRACE_EVENT_STOP {
			return unix.PtraceDetach(tid) == nil
		}
		unix.PtraceCont(tid, deliver(ws))
	}
}

// hook finds out where the file was loaded and hooks it.
func (d *dance) hook() error {
	var regs registers
	if err := regs.get(d.tid); err != nil {
		return errGone
	}
	var bias uint64
	var err error
	if d.exec {
		if !d.done {
			return nil // the exec failed
		}
		d.beginAnnounce()
		d.res = d.s.cache.search(procPath(d.tid, "exe"), searchLimit)
		if !d.res.Hookable() {
			d.notHookable()
			return nil
		}
		bias, err = programBias(d.tid, d.res)
	} else {
		bias, err = mapBias(regs.result(), d.n.Args[1], d.n.Args[5], d.res)
		if errors.Is(err, errNoText) {
			return nil // node and deno map their own file again for other reasons
		}
	}
	if err != nil {
		return err
	}
	mem, err := openMemory(d.tid)
	if err != nil {
		return err
	}
	defer mem.Close()
	maps, err := readMaps(d.tid)
	if err != nil {
		return err
	}
	t := &tracee{tid: d.tid, mem: mem, saved: regs, gate: regs.pc() - uint64(len(gateCode))}
	slack, done := d.gatePlace(t, maps, bias)
	defer done()
	if d.exec && slack == 0 {
		t.gate = maps.find(mem, gateCode)
	}
	if err := t.begin(slack, d.s.orphanCookie()); err != nil {
		t.end()
		return err
	}
	if slack != 0 {
		d.s.State.Mark(d.n.ID, state.Protected)
	}
	n, err := d.s.install(t, d.res, bias, maps)
	if e := t.end(); e != nil {
		return errGone
	}
	if err != nil {
		return err
	}
	d.s.Stats.Hooked.Add(uint64(n))
	d.announce()
	d.s.placed(d.tid, d.res)
	return nil
}

// gatePlace finds memory for a gate, with a payload.Load if there is room: in
// the object itself, which nobody runs yet, else in another one that is mapped.
// That is had by one dance at a time; done makes it what it was.
func (d *dance) gatePlace(t *tracee, maps mappings, bias uint64) (at uint64, done func()) {
	const whole = payload.GateSize + payload.LoadSize
	if at = maps.slack(d.res.Loads, bias, whole); at != 0 {
		t.load = d.load
		return at, func() {}
	}
	if at = maps.slack(d.res.Loads, bias, payload.GateSize); at != 0 {
		return at, func() {}
	}
	release := d.s.hold(-threadGroup(d.tid))
	if at = maps.spare(t.mem, whole); at == 0 {
		return 0, release
	}
	t.load = d.load
	before := make([]byte, whole)
	n, _ := t.mem.ReadAt(before, int64(at))
	return at, func() {
		t.write(at, before[:n])
		release()
	}
}

// beginAnnounce reports the exec beside the work on the stopped task.
func (d *dance) beginAnnounce() {
	d.announcing = make(chan struct{})
	go func(tid int) {
		d.s.tracker.executed(tid)
		close(d.announcing)
	}(d.tid)
}

// announce waits until the exec is reported: before anything else that is
// reported of it, and before the task goes on and may end.
func (d *dance) announce() {
	if d.announcing != nil {
		<-d.announcing
	}
}

func (d *dance) notHookable() {
	d.announce()
	d.s.hookEvent(d.tid, verdict(d.res))
}
