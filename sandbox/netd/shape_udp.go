//go:build linux

package netd

import (
	"sync"
	"time"

	"clipper/bus"
)

// datagramRoom is how many bytes of datagrams wait in a direction of a session;
// what comes beyond is lost.
const datagramRoom = 256 << 10

// delayUp takes a datagram of the program if it must wait; p is copied.
func (s *udpSession) delayUp(p *packet) bool {
	shaper := s.t.n.shape
	if shaper.on.Load().limit(s.flow(p), nil).up == nil && (s.up == nil || s.up.idle()) {
		return false
	}
	if s.up == nil {
		s.up = newLine(shaper, func([]byte) time.Duration { return 0 }, func(b []byte) {
			if p, ok := parsePacket(b); ok {
				c := shaper.on.Load()
				c.pace(c.limit(s.flow(&p), nil).up, len(b))
				if d, ok := p.datagram(); ok {
					s.sendNow(&p, d)
				}
			}
		})
	}
	s.up.offer(p.b, datagramRoom)
	return true
}

// deliver hands a packet to the program, after the delay of its limit.
func (s *udpSession) deliver(b []byte) {
	shaper := s.t.n.shape
	if shaper.on.Load() == nil && (s.down == nil || s.down.idle()) {
		s.t.n.sendFragments(b)
		return
	}
	if s.down == nil {
		limit := func(b []byte) *limit {
			p, _ := parsePacket(b)
			return shaper.on.Load().limit(bus.Flow{Transport: "udp", Client: p.dst, Server: p.src}, nil)
		}
		s.down = newLine(shaper, func(b []byte) time.Duration { return limit(b).latency }, func(b []byte) {
			c := shaper.on.Load()
			if c != nil && c.Offline {
				return // lost
			}
			c.pace(limit(b).down, len(b))
			s.t.n.sendFragments(b)
		})
	}
	s.down.offer(b, datagramRoom)
}

func (s *udpSession) flow(p *packet) bus.Flow {
	return bus.Flow{Transport: "udp", Client: p.src, Server: p.dst}
}

// pace waits until n bytes have passed through a link; c may be nil.
func (c *shape) pace(l *link, n int) {
	if l != nil {
		c.sleep(l.pass(time.Now(), n))
	}
}

// line holds datagrams that travel: each arrives after a delay, in order. One
// goroutine delivers while there is something to deliver.
type line struct {
	s       *shaper
	delay   func([]byte) time.Duration
	to      func([]byte)
	mu      sync.Mutex
	chunks  []chunk
	size    int // bytes of chunks, the one that is being delivered too
	running bool
}

type chunk struct {
	b  []byte
	at time.Time
}

func newLine(s *shaper, delay func([]byte) time.Duration, to func([]byte)) *line {
	return &line{s: s, delay: delay, to: to}
}

// offer takes a copy of b if no more than room bytes wait then; it is lost
// otherwise.
func (l *line) offer(b []byte, room int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(b) > room {
		return
	}
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
	return !l.running
}

func (l *line) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.chunks) > 0 {
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
		l.to(next.b)
		l.mu.Lock()
		l.size -= len(next.b)
	}
	l.running = false
}
