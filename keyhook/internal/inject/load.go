package inject

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/payload"
	"clipper/keyhook/internal/seccomp"
)

// States of dance.loading.
const (
	notLoading = iota
	loading
	loaded
)

// lookAfter is how often a task that loads is looked at: it may have been
// killed, or stopped by a signal.
const lookAfter = 10 * time.Millisecond

// load lets the task make the mappings of l by itself, up to its way back,
// where it asks. It returns the address of the ring, or 1; 0 if it failed.
func (d *dance) load(t *tracee, l payload.Load) (uint64, error) {
	c := payload.Code{Base: t.slack + payload.GateSize}
	ask := t.slack + uint64(len(gateCode))
	if !payload.Native.Load(&c, l, ask) || t.write(c.Base, c.Bytes) != nil {
		return 0, nil
	}
	d.loading.Store(loading)
	defer d.loading.Store(notLoading)
	r := t.saved
	r.jump(c.Base)
	if r.set(d.tid) != nil || unix.PtraceCont(d.tid, 0) != nil {
		return 0, errGone
	}
	for d.loading.Load() != loaded {
		d.await()
		if d.loading.Load() == loaded {
			break
		}
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil)
		if err == unix.EINTR || err == nil && tid == 0 {
			continue
		}
		if err != nil || !ws.Stopped() || unix.PtraceCont(d.tid, deliver(ws)) != nil {
			return 0, errGone
		}
	}
	// It sleeps in its question: stop it behind that. Should we be killed before
	// its registers are set, it asks again.
	id := d.loaded.Load()
	unix.PtraceInterrupt(d.tid)
	seccomp.Fail(d.s.Listener, id, payload.AskAgain)
	d.s.State.End(id)
	for {
		_, ws, err := wait()
		if err != nil || !ws.Stopped() {
			return 0, errGone
		}
		if event(ws) == unix.PTRACE_EVENT_STOP {
			break
		}
		unix.PtraceInterrupt(d.tid)
		unix.PtraceCont(d.tid, deliver(ws))
	}
	if r.get(d.tid) != nil {
		return 0, errGone
	}
	return r.loadResult(), nil
}

// hasLoaded tells load that the task asks. It reports false if nobody waits
// for that.
func (d *dance) hasLoaded(id uint64) bool {
	d.loaded.Store(id)
	if !d.loading.CompareAndSwap(loading, loaded) {
		return false
	}
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&d.loading)), futexWakePrivate, 1, 0, 0, 0)
	return true
}

const (
	futexWaitPrivate = 128
	futexWakePrivate = 129
)

// await sleeps while d loads. Not on a channel: the goroutine's thread is
// locked, and the scheduler takes two switches of threads to wake it.
func (d *dance) await() {
	ts := unix.NsecToTimespec(int64(lookAfter))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&d.loading)), futexWaitPrivate, loading, uintptr(unsafe.Pointer(&ts)), 0, 0)
}
