//go:build linux

package netd

import (
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
		s.up = newLine(shaper, func([]byte) time.Duration { return 0 }, func(b []byte) error {
			if p, ok := parsePacket(b); ok {
				c := shaper.on.Load()
				c.pace(c.limit(s.flow(&p), nil).up, len(b))
				if d, ok := p.datagram(); ok {
					s.sendNow(&p, d)
				}
			}
			return nil
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
		s.down = newLine(shaper, func(b []byte) time.Duration { return limit(b).latency }, func(b []byte) error {
			c := shaper.on.Load()
			if c != nil && c.Offline {
				return nil // lost
			}
			c.pace(limit(b).down, len(b))
			s.t.n.sendFragments(b)
			return nil
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
