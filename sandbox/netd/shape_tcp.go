//go:build linux

package netd

import (
	"time"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// stream is what the shaper knows of a TCP connection.
type stream struct {
	name    *string       // what the program called the server; nil: not known (yet)
	started bool          // the program has sent something
	late    time.Duration // when the name is not waited for any longer; 0: nothing was sent
	next    time.Time     // when the program may send more; 0: not known

	// What the peer sent, on its way to the program.
	travels []chunk
	size    int       // bytes of it
	end     arrival   // what comes after it
	paid    int       // bytes at its front that the link lets pass at arrives
	arrives time.Time // 0: nothing is paid
}

// arrival is how the peer's stream ends.
type arrival byte

const (
	notYet arrival = iota
	endOfStream
	resetByPeer
)

// headWait is how long the rest of a beginning that looks like TLS or HTTP may take.
const headWait = 3 * time.Second

func (f *tcpFlow) id() bus.Flow {
	return bus.Flow{Transport: "tcp", Client: f.key.program, Server: f.key.peer}
}

func (f *tcpFlow) shape() *shape { return f.l.n.shape.on.Load() }

// time is the clock of the links.
func (l *loop) time() time.Time { return l.start.Add(l.now) }

// wake makes the loop resume the flow at a time, or earlier if it is to do so
// already: both directions wait.
func (f *tcpFlow) wake(at time.Duration) {
	if at = max(at, 1); f.wakeAt == 0 || at < f.wakeAt {
		f.wakeAt = at
	}
	f.l.before(f.wakeAt)
}

func (f *tcpFlow) wakeTime(at time.Time) { f.wake(at.Sub(f.l.start)) }

// resume goes on with what had to wait.
func (f *tcpFlow) resume() {
	if f.backlog.len() > 0 {
		f.flushBacklog()
	}
	if f.fd >= 0 {
		f.enqueue()
	}
}

// reshape puts conditions in force that have changed, for the flows that are
// open; at the beginning that is before the loop runs.
func (l *loop) reshape() {
	l.do(func() {
		c := l.n.shape.on.Load()
		for _, f := range l.slots {
			if f == nil {
				continue
			}
			if c != nil && f.conn != nil && c.blocks(f.id(), f.name) {
				f.cut(c)
				continue
			}
			f.next = time.Time{}
			if !f.arrives.IsZero() {
				f.arrives = l.time() // at once
			}
			f.resume()
		}
	})
}

// cut ends the connection with RST both ways.
func (f *tcpFlow) cut(c *shape) {
	f.l.n.shape.tell(c, f.id())
	f.conn.Abort()
	resetSocket(f.fd)
	f.remove()
}

// handshakeDue reports whether the time is over that a limit adds to the
// opening of a connection.
func (f *tcpFlow) handshakeDue() bool {
	latency := f.shape().limit(f.id(), nil).latency
	if latency == 0 {
		return true
	}
	if f.reached == 0 {
		f.reached = max(f.l.now, 1)
	}
	if due := f.reached + latency; f.l.now < due {
		f.wake(due)
		return false
	}
	return true
}

// permit says how many bytes of the backlog may be sent now; the flow is resumed
// when there may be more. The limit counts them, nil if there is none.
func (f *tcpFlow) permit() (n int, l *limit) {
	c := f.shape()
	if c != nil && !f.started {
		if c.named && !f.learn() {
			return 0, nil
		}
		if c.blocks(f.id(), f.name) {
			f.cut(c)
			return 0, nil
		}
	}
	f.started = true
	if c == nil {
		return f.backlog.len(), nil
	}
	if c.Offline {
		return 0, nil
	}
	if l = c.limit(f.id(), f.name); l.up == nil {
		f.next = time.Time{}
		return f.backlog.len(), nil
	}
	now := f.l.time()
	if f.next.IsZero() { // behind what others have sent
		f.next = now.Add(l.up.busy(now))
	}
	if now.Before(f.next) {
		f.wakeTime(f.next)
		return 0, nil
	}
	return min(f.backlog.len(), l.up.piece()), l
}

// learn finds out the name in what the program sends first. It reports false
// while more of that is needed.
func (f *tcpFlow) learn() bool {
	name, more := serverName(f.backlog.bytes()[:min(f.backlog.len(), maxHead)])
	if !more {
		f.name = &name
		return true
	}
	if f.late == 0 {
		f.late = f.l.now + headWait
	}
	if f.l.now < f.late && !f.closing {
		f.wake(f.late)
		return false
	}
	return true
}

// shaped reports whether what the peer sends has to travel.
func (f *tcpFlow) shaped() bool { return f.shape() != nil || len(f.travels) > 0 || f.end != notYet }

// toProgramShaped is toProgram for what travels.
func (f *tcpFlow) toProgramShaped() {
	f.setOut()
	if !f.arrive() {
		return
	}
	switch f.end {
	case endOfStream:
		f.end = notYet
		f.endProgram()
	case resetByPeer:
		f.resetProgram()
	}
}

// setOut takes what the peer has sent.
func (f *tcpFlow) setOut() {
	for f.readable && f.size < fairWindow(f.l.travels) && f.end == notYet {
		b := f.l.scratch.Room()
		n, errno := rawRead(f.fd, b)
		switch {
		case errno == unix.EAGAIN:
			f.readable, f.hangUp = false, false
		case errno != 0 || n == 0 && f.hostErr != nil:
			f.readable, f.end = false, resetByPeer
		case n == 0:
			f.readable, f.end = false, endOfStream
		default:
			f.travels = append(f.travels, chunk{append([]byte(nil), b[:n]...), f.l.time()})
			f.size += n
			f.l.travels += n
		}
	}
}

// arrive hands over what has come to its end, at the pace of its limit, and
// reports whether that is all.
func (f *tcpFlow) arrive() bool {
	l := f.l
	for len(f.travels) > 0 {
		c := f.shape()
		if c != nil && c.Offline {
			return false
		}
		next := &f.travels[0]
		limit := c.limit(f.id(), f.name)
		if due := next.at.Add(limit.latency); l.time().Before(due) {
			f.wakeTime(due)
			return false
		}
		if f.arrives.IsZero() {
			f.paid = min(len(next.b), limit.down.piece())
			f.arrives = limit.down.pass(l.time(), f.paid)
		}
		if l.time().Before(f.arrives) {
			f.wakeTime(f.arrives)
			return false
		}
		n := min(f.room(), f.paid)
		if n == 0 {
			return false
		}
		b := l.pool.Get(n)
		b.Fill(copy(b.Room(), next.b[:n]))
		f.conn.Write(b, true, l.now)
		f.touch()
		next.b = next.b[n:]
		f.size -= n
		l.travels -= n
		if f.paid -= n; f.paid == 0 {
			f.arrives = time.Time{}
		}
		if len(next.b) == 0 {
			f.travels = f.travels[1:]
			if f.size < fairWindow(l.travels) && f.readable {
				f.enqueue()
			}
		}
	}
	return true
}
