package reassembler

import (
	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// startsOver reports whether a segment begins a new connection on the
// five-tuple of an ended one.
func (c *conn) startsOver(t *wire.Segment, d bus.Dir) bool {
	if t.Flags&wire.SYN == 0 || t.Flags&wire.RST != 0 {
		return false
	}
	h, peer := &c.half[d], &c.half[1-d]
	if t.Flags&wire.ACK == 0 {
		return true
	}
	if h.syn {
		return h.isn != t.Seq
	}
	if peer.syn {
		return t.Ack != peer.isn+1
	}
	return !h.near(t.Seq+1) || !peer.near(t.Ack) // else a late one of the connection that was joined in the middle
}

// near reports whether a number is that of a byte not far from the present one.
func (h *half) near(seq uint32) bool {
	const far = 1 << 24
	off := int32(seq - h.seq)
	return h.based && off > -far && off < far
}

// synchronize takes a SYN. It returns the connection that the segment belongs
// to, which is another one if the five-tuple is used again, or nil if the
// segment has no effect.
func (s *Stage) synchronize(c *conn, fromB bool, t *wire.Segment) *conn {
	d := c.dir(fromB)
	h, peer := &c.half[d], &c.half[1-d]
	answer := t.Flags&wire.ACK != 0
	switch {
	case h.syn && h.isn == t.Seq: // a retransmission, or the SYN/ACK of a simultaneous open
		if !answer && t.Len == 0 {
			s.resent(c, d)
		}
	case answer && c.pending != nil && c.pending.dir != d && t.Ack == c.pending.seq+1:
		return s.reuse(c, fromB, t)
	case h.syn:
		if !c.firm {
			return s.reuse(c, fromB, t)
		}
		if !answer && (c.pending == nil || c.pending.dir != d || c.pending.seq != t.Seq) {
			s.dropPending(c)
			scale, _ := t.WindowScale()
			c.pending = &pendingSYN{dir: d, seq: t.Seq, window: uint32(t.Window), scale: scale, frame: s.frame, time: s.now, mark: s.here()}
		}
		return nil
	case answer && peer.syn:
		if a := peer.offset(t.Ack); a < 0 || a > peer.off {
			return nil // it answers an older SYN (RFC 9293, figure 8)
		}
	case h.based && t.Seq+1 != h.base:
		return s.reuse(c, fromB, t)
	}
	if !h.syn {
		h.syn, h.isn = true, t.Seq
		h.scale, _ = t.WindowScale()
		h.scaled = true
		s.setBase(h, t.Seq+1)
		s.drain(c, d)
	}
	if answer && !c.answered {
		c.answered = true
		if !peer.based {
			s.setBase(peer, t.Ack)
		}
		s.send(c, bus.Record{Type: bus.Established, Dir: d, Time: s.now})
	}
	if h.syn && peer.syn && c.answered && !c.firm {
		c.firm = true
		c.list.remove(c)
		s.grown.push(c)
	}
	return c
}

// takes reports whether a segment without SYN can follow p.
func (p *pendingSYN) takes(d bus.Dir, t *wire.Segment) bool {
	if t.Flags&(wire.SYN|wire.RST) != 0 {
		return false
	}
	off := t.Seq - p.seq - 1
	if d != p.dir {
		off = t.Ack - p.seq - 1
	}
	return off <= 1<<16
}

// refusedBy reports whether an RST ends the attempt that p began.
func (p *pendingSYN) refusedBy(d bus.Dir, t *wire.Segment) bool {
	if d == p.dir {
		off := int32(t.Seq - p.seq - 1)
		return off >= -1 && off <= 1<<16+1
	}
	return t.Flags&wire.ACK != 0 && t.Ack == p.seq+1
}

// reuse ends c for a new connection on its five-tuple that the SYN t begins or
// answers.
func (s *Stage) reuse(c *conn, fromB bool, t *wire.Segment) *conn {
	k := c.key
	s.close(c, bus.EndReused, nil)
	n := s.conns.get(&k)
	if n.ended {
		s.forget(n)
		n = s.open(&k, fromB == (t.Flags&wire.ACK == 0), false, nil)
	}
	return s.synchronize(n, fromB, t)
}
