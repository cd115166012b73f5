//go:build linux

package netd

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"clipper/bus"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// stream is a TCP connection as the shaper sees it.
type stream struct {
	s    *shaper
	id   bus.Flow
	ep   tcpip.Endpoint
	host *hostConn
	name atomic.Pointer[string] // what the program called the server; nil: not known (yet)

	started bool      // the program has sent something; of toHost
	next    time.Time // when it may send more; of toHost
	line    *line     // what the peer sent waits here; of toSandbox, nil while nothing is asked
}

// open registers a connection. end must follow.
func (s *shaper) open(client, server netip.AddrPort, ep tcpip.Endpoint, host *hostConn) *stream {
	f := &stream{s: s, id: bus.Flow{Transport: "tcp", Client: client, Server: server}, ep: ep, host: host}
	s.mu.Lock()
	s.flows[f.id] = f
	s.mu.Unlock()
	return f
}

func (f *stream) end() {
	f.s.mu.Lock()
	if f.s.flows[f.id] == f {
		delete(f.s.flows, f.id)
	}
	f.s.mu.Unlock()
}

// cut ends the connection with RST both ways.
func (f *stream) cut(c *shape) {
	f.s.tell(c, f.id)
	f.host.reset()
	f.ep.Abort()
}

// permit waits until the program may send, and says how many bytes; 0 is any
// number.
func (f *stream) permit(readable <-chan struct{}) int {
	for {
		c := f.s.on.Load()
		if c == nil {
			f.started = true
			return 0
		}
		if !f.started {
			if c.named {
				f.learn(readable)
			}
			f.started = true
			if c = f.s.on.Load(); c != nil && c.blocks(f.id, f.name.Load()) {
				f.cut(c)
				return 0 // nothing can be read any more
			}
			continue
		}
		if c.Offline {
			<-c.changed
			continue
		}
		l := c.limit(f.id, f.name.Load())
		if l.up == nil {
			f.next = time.Time{}
			return 0
		}
		now := time.Now()
		if f.next.IsZero() { // behind what others have sent
			f.next = now.Add(l.up.busy(now))
		}
		if now.Before(f.next) && !c.sleep(f.next) {
			f.next = time.Time{}
			continue
		}
		return l.up.piece()
	}
}

// sent counts what the program has sent after permit.
func (f *stream) sent(n int) {
	if c := f.s.on.Load(); c != nil && n > 0 {
		if l := c.limit(f.id, f.name.Load()); l.up != nil {
			f.next = l.up.pass(time.Now(), n)
		}
	}
}

// learn finds out the name in what the program sends first, which stays where
// it is.
func (f *stream) learn(readable <-chan struct{}) {
	var head peeked
	var late <-chan time.Time
	for {
		head.b = head.b[:0]
		_, err := f.ep.Read(&head, tcpip.ReadOptions{Peek: true})
		if _, empty := err.(*tcpip.ErrWouldBlock); err != nil && !empty {
			return // its end: toHost finds out
		}
		name, more := serverName(head.b)
		if !more {
			f.name.Store(&name)
			return
		}
		if len(head.b) > 0 && late == nil {
			late = time.After(headWait)
		}
		select {
		case <-readable:
		case <-late:
			return
		}
	}
}

// headWait is how long the rest of a beginning that looks like TLS or HTTP may take.
const headWait = 3 * time.Second

// download takes what the peer sent; write hands it to the program.
func (f *stream) download(b []byte, write func([]byte) error) error {
	if f.line == nil {
		f.line = newLine(f.s, func([]byte) time.Duration { return f.s.on.Load().limit(f.id, f.name.Load()).latency }, func(b []byte) error {
			return f.deliver(b, write)
		})
	} else if f.s.on.Load() == nil && f.line.idle() {
		f.line = nil
		return write(b)
	}
	return f.line.push(b)
}

// shaped reports whether what the peer sends goes through download.
func (f *stream) shaped() bool { return f.line != nil || f.s.on.Load() != nil }

// flush waits until the program has got everything.
func (f *stream) flush() {
	if f.line != nil {
		f.line.wait()
	}
}

// deliver writes b piece by piece at the pace of its limit.
func (f *stream) deliver(b []byte, write func([]byte) error) error {
	for len(b) > 0 {
		c := f.s.on.Load()
		if c != nil && c.Offline {
			<-c.changed
			continue
		}
		l := c.limit(f.id, f.name.Load())
		p := b[:min(len(b), l.down.piece())]
		c.pace(l.down, len(p)) // if other conditions follow, at once
		if err := write(p); err != nil {
			f.host.reset() // ends toSandbox, which reads from it
			return err
		}
		b = b[len(p):]
	}
	return nil
}

// peeked takes what is there, up to maxHead.
type peeked struct{ b []byte }

func (p *peeked) Write(b []byte) (int, error) {
	p.b = append(p.b, b[:min(len(b), maxHead-len(p.b))]...)
	return len(b), nil
}

// line holds what travels to the program: it arrives after a delay, in order.
// One goroutine delivers while there is something to deliver.
type line struct {
	s       *shaper
	delay   func([]byte) time.Duration
	to      func([]byte) error
	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	size    int // bytes of chunks, the one that is being delivered too
	running bool
	err     error
}

type chunk struct {
	b  []byte
	at time.Time
}

// lineRoom is how many bytes travel at most: what TCP would call the window.
const lineRoom = 1 << 20

func newLine(s *shaper, delay func([]byte) time.Duration, to func([]byte) error) *line {
	l := &line{s: s, delay: delay, to: to}
	l.changed.L = &l.mu
	return l
}

// push takes a copy of b, and waits for room.
func (l *line) push(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.size > 0 && l.size+len(b) > lineRoom && l.err == nil {
		l.changed.Wait()
	}
	if l.err != nil {
		return l.err
	}
	l.add(b)
	return nil
}

// offer is push for what may be lost: it takes b if there is room.
func (l *line) offer(b []byte, room int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(b) <= room {
		l.add(b)
	}
}

func (l *line) add(b []byte) {
	l.chunks = append(l.chunks, chunk{append([]byte(nil), b...), time.Now()})
	l.size += len(b)
	if !l.running {
		l.running = true
		go l.run()
	}
}

func (l *line) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.running && l.err == nil
}

// wait waits until everything has been delivered, or can't be.
func (l *line) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running {
		l.changed.Wait()
	}
}

func (l *line) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.chunks) > 0 && l.err == nil {
		next := l.chunks[0]
		l.chunks = l.chunks[1:]
		l.mu.Unlock()
		for {
			c := l.s.on.Load()
			due := next.at.Add(l.delay(next.b))
			if c == nil || !time.Now().Before(due) || c.sleep(due) {
				break
			}
		}
		err := l.to(next.b)
		l.mu.Lock()
		l.err = err
		l.size -= len(next.b)
		l.changed.Broadcast()
	}
	l.running = false
	l.changed.Broadcast()
}
