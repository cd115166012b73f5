//go:build linux

package netd

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"time"

	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

// loop moves the packets of the tun and the bytes of all TCP connections, in one
// thread: a request crosses it without waking another one.
type loop struct {
	n     *nat
	ep    int // epoll
	wake  int // eventfd: something is in the inbox
	flows map[flowKey]*tcpFlow
	slots []*tcpFlow // by number, as epoll reports them
	free  []int32    // slots

	pool    tcp.Pool
	scratch *tcp.Buffer // empty, of the largest size
	header  [vnetHeaderLen + ipv6HeaderLen + tcp.MaxHeaderLen]byte
	pending int // bytes that wait for sockets of the host
	travels int // bytes that travel to programs, see stream

	start   time.Time
	now     time.Duration // since start, when the round began
	next    time.Duration // when a flow has to be looked at; 0: never
	tunMore bool          // the tun may have more packets
	touched []*tcpFlow    // of this round, whose state is to be looked at
	ready   []*tcpFlow    // with bytes of the host to be moved
	turn    []*tcpFlow    // the same, in this round
	acks    []dueAck      // in the order of their times

	done chan struct{} // closed when run has returned

	mu    sync.Mutex
	inbox []func()
	ended bool
}

// dueAck is when an acknowledgement has to be sent if no data took it along.
type dueAck struct {
	f  *tcpFlow
	at time.Duration
}

// Numbers that epoll reports for what is not a flow.
const (
	tunSlot  = -1
	wakeSlot = -2
)

// Work per round, so that each has its turn.
const (
	packetsPerRound = 64
	readsPerTurn    = 4
)

func newLoop(n *nat) (l *loop, err error) {
	l = &loop{n: n, flows: map[flowKey]*tcpFlow{}, start: time.Now(), done: make(chan struct{})}
	l.scratch = l.pool.Get(tcp.MaxPayload)
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("netd: epoll: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("netd: eventfd: %w", err)
	}
	if err = l.watch(l.wake, wakeSlot, unix.EPOLLIN); err == nil {
		err = l.watch(n.tun.fd, tunSlot, unix.EPOLLIN|unix.EPOLLET)
	}
	if err != nil {
		return nil, fmt.Errorf("netd: epoll: %w", err)
	}
	return l, nil
}

func (l *loop) watch(fd int, slot int32, events uint32) error {
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: slot})
}

// do runs f between two rounds.
func (l *loop) do(f func()) {
	l.mu.Lock()
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	l.knock()
}

// call runs f between two rounds and waits for it. It reports whether it was run:
// not when the loop has ended.
func (l *loop) call(f func()) bool {
	did := make(chan struct{})
	l.do(func() {
		f()
		close(did)
	})
	select {
	case <-did:
		return true
	case <-l.done:
		return false
	}
}

// stop makes run end.
func (l *loop) stop() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.knock()
}

func (l *loop) knock() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	unix.Write(l.wake, one[:])
}

// run works until stop, or until the tun fails.
func (l *loop) run() error {
	// Waiting for events is the only call that blocks; the thread stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l.tunMore = true
	events := make([]unix.EpollEvent, 256)
	defer close(l.done)
	for {
		n := epollWait(l.ep, events, l.patience())
		l.now = time.Since(l.start)
		for _, e := range events[:n] {
			switch {
			case e.Fd == tunSlot:
				l.tunMore = true
			case e.Fd == wakeSlot:
				if l.answerKnock() {
					return nil
				}
			default:
				if f := l.slots[e.Fd]; f != nil {
					f.onSocket(e.Events)
				}
			}
		}
		if err := l.readTun(); err != nil {
			return err
		}
		l.moveReady()
		l.settle()
		l.tick()
	}
}

// patience is how long the loop may wait for events; negative: forever.
func (l *loop) patience() time.Duration {
	if l.tunMore || len(l.ready) > 0 {
		return 0
	}
	for len(l.acks) > 0 && !l.acks[0].f.owesAck() {
		l.popAck()
	}
	due := l.next
	if len(l.acks) > 0 && (due == 0 || l.acks[0].at < due) {
		due = l.acks[0].at
	}
	if due == 0 {
		return -1
	}
	return max(due-l.now, 0)
}

func (l *loop) answerKnock() (ended bool) {
	var b [8]byte
	unix.Read(l.wake, b[:])
	l.mu.Lock()
	list := l.inbox
	l.inbox = nil
	ended = l.ended
	l.mu.Unlock()
	for _, f := range list {
		f()
	}
	return ended
}

func (l *loop) readTun() error {
	for range packetsPerRound {
		if !l.tunMore {
			return nil
		}
		vnet, b, err := l.n.tun.read()
		switch {
		case err == unix.EAGAIN:
			l.tunMore = false
		case err != nil:
			return err
		default:
			if p, ok := parsePacket(b); ok {
				l.n.take(&p, vnet)
			}
		}
	}
	return nil
}

// moveReady gives each flow with bytes of the host a turn.
func (l *loop) moveReady() {
	l.turn, l.ready = l.ready, l.turn[:0]
	for _, f := range l.turn {
		f.queued = false
		f.toProgram()
	}
	clear(l.turn)
}

// settle sends the acknowledgements that have to be sent now, and notes those
// that may wait for data to go with.
func (l *loop) settle() {
	for _, f := range l.touched {
		f.touched = false
		if f.conn == nil {
			continue
		}
		f.conn.SetBacklog(f.backlog.len(), fairWindow(l.pending))
		now, later := f.conn.NeedsAck()
		switch {
		case now:
			f.conn.Flush()
		case later && !f.ackDue:
			f.ackDue = true
			l.acks = append(l.acks, dueAck{f, l.now + tcp.AckDelay})
		}
		l.before(f.conn.Deadline())
	}
	clear(l.touched)
	l.touched = l.touched[:0]
	for len(l.acks) > 0 && l.acks[0].at <= l.now {
		if f := l.acks[0].f; f.owesAck() {
			f.conn.Flush()
		}
		l.popAck()
	}
}

func (l *loop) popAck() {
	l.acks[0].f.ackDue = false
	l.acks[0].f = nil
	l.acks = l.acks[1:]
}

// tick lets the connections repeat what is overdue.
func (l *loop) tick() {
	if l.next == 0 || l.now < l.next {
		return
	}
	l.next = 0
	for _, f := range l.slots {
		if f == nil {
			continue
		}
		if f.wakeAt != 0 {
			if f.wakeAt <= l.now {
				f.wakeAt = 0
				f.resume()
			} else {
				l.before(f.wakeAt)
			}
		}
		if f.conn != nil {
			f.handle(f.conn.Tick(l.now))
		}
		if f.conn != nil {
			l.before(f.conn.Deadline())
		}
	}
}

// before makes the loop look at all flows at a time; 0 is never.
func (l *loop) before(t time.Duration) {
	if t != 0 && (l.next == 0 || t < l.next) {
		l.next = t
	}
}

// Memory that connections may take. One that moves bytes needs little of it; it
// is for those whose other side is slow.
const (
	wideWindow    = 1 << 20  // bytes of a connection, each way
	narrowWindow  = 64 << 10 // the same when all together take much
	maxWideMemory = 64 << 20
)

// fairWindow is how many bytes a connection may have each way where all together
// have used.
func fairWindow(used int) int {
	if used > maxWideMemory {
		return narrowWindow
	}
	return wideWindow
}
