package reassembler

import (
	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// segment takes one TCP segment (RFC 9293, section 3.10.7, as seen from
// outside).
func (s *Stage) segment(t *wire.Segment) {
	k, fromB := newFlowKey(&s.packet, t.SrcPort, t.DstPort)
	c := s.lookup(&k)
	if c != nil {
		if c.pending != nil && s.now >= after(c.last, tailLimit) {
			s.dropPending(c)
		}
		c.last = max(c.last, s.now)
		if c.ended {
			if !c.startsOver(t, c.dir(fromB)) {
				c.tail = c.tail || opens(t)
				return
			}
			if c.tail {
				s.settle()
			}
			s.forget(c)
			c = nil
		}
	}
	if c == nil {
		if c = s.first(&k, t, fromB); c == nil {
			return
		}
	}
	s.depend(c, s.parts)
	d := c.dir(fromB)
	if p := c.pending; p != nil && p.takes(d, t) && !c.plausible(d, t) {
		s.close(c, bus.EndReused, nil)
		c = s.conns.get(&k)
		d = c.dir(fromB)
	}
	switch {
	case t.Flags&wire.RST != 0:
		s.reset(c, d, t)
		return
	case t.Flags&wire.SYN != 0:
		if c = s.synchronize(c, fromB, t); c == nil {
			return
		}
		d = c.dir(fromB)
	}
	s.text(c, d, t)
}

// text is what follows once a segment belongs to c: acknowledgment, payload, FIN.
func (s *Stage) text(c *conn, d bus.Dir, t *wire.Segment) {
	h, peer := &c.half[d], &c.half[1-d]
	seq := t.Seq
	if t.Flags&wire.SYN != 0 {
		seq++
	}
	far := false
	if h.based {
		off := h.offset(seq)
		if off+int64(t.Len) < -1 || off-h.off > maxJump {
			return // of another connection
		}
		far = off > c.edge(d)
	} else if peer.syn && t.Flags&wire.ACK != 0 {
		if a := peer.offset(t.Ack); a < 0 || a > c.edge(1-d) {
			return // unacceptable in SYN-SENT (RFC 9293, section 3.10.7.3)
		}
	}
	if !far {
		h.window = uint32(t.Window)
		if !h.seen {
			h.seen = true
			s.dropFar(c, 1-d)
		}
		if t.Flags&wire.ACK != 0 {
			s.acknowledge(c, 1-d, t.Ack)
		}
	}
	if t.Len == 0 && t.Flags&wire.FIN == 0 {
		return
	}
	if !h.based {
		h.anchor(seq)
	}
	off := h.offset(seq)
	if t.Len > 0 {
		s.receive(c, d, off, t.Payload, t.Len)
	}
	if end := off + int64(t.Len); t.Flags&wire.FIN != 0 && !h.finDone && (end >= h.off || !h.based) {
		if !h.fin || end < h.finOff || h.finOff > c.edge(d) {
			h.fin, h.finOff = true, end
		}
	}
	if far || !h.based {
		s.await(c, h)
	}
	if h.fin || h.gapAt != 0 {
		s.settleHalf(c, d)
	}
}

// first opens a connection for a segment that belongs to none, if the segment
// can begin one: a SYN or payload.
func (s *Stage) first(k *flowKey, t *wire.Segment, fromB bool) *conn {
	if t.Flags&wire.RST != 0 {
		return nil
	}
	if t.Flags&wire.SYN != 0 {
		if t.Flags&wire.ACK == 0 {
			return s.open(k, fromB, false, nil)
		}
		return s.open(k, !fromB, false, nil)
	}
	if !opens(t) {
		return nil
	}
	c := s.open(k, clientIsB(k, t, fromB), true, nil)
	h := &c.half[c.dir(fromB)]
	s.setBase(h, t.Seq)
	return c
}

// opens reports whether a segment without SYN begins a connection.
func opens(t *wire.Segment) bool {
	return t.Flags&wire.RST == 0 && t.Len > 0 && !isKeepAlive(t)
}

// isKeepAlive knows the keep-alive of old stacks, whose one byte is garbage.
func isKeepAlive(t *wire.Segment) bool {
	return t.Len == 1 && len(t.Payload) == 1 && t.Payload[0] == 0 && t.Flags&wire.PSH == 0
}

// reset takes an RST from the sender of d.
func (s *Stage) reset(c *conn, d bus.Dir, t *wire.Segment) {
	if p := c.pending; p != nil && p.refusedBy(d, t) {
		s.dropPending(c)
		return
	}
	if !c.acceptsReset(d, t) {
		return
	}
	reason := bus.EndReset
	server := &c.half[bus.ServerToClient]
	if d == bus.ServerToClient && !server.syn && c.half[bus.ClientToServer].syn && server.off == 0 && server.held == nil {
		reason = bus.EndRefused
	}
	s.close(c, reason, &bus.Record{Type: bus.Reset, Dir: d, Time: s.now})
}

// acceptsReset applies the validity rules of RFC 9293, section 3.10.7: in
// SYN-SENT an RST must acknowledge the SYN, later it must lie in the
// receiver's window.
func (c *conn) acceptsReset(d bus.Dir, t *wire.Segment) bool {
	h, peer := &c.half[d], &c.half[1-d]
	if !h.based || peer.syn && !h.syn && h.off == 0 {
		if t.Flags&wire.ACK != 0 && peer.based {
			a := peer.offset(t.Ack)
			if a >= 0 && a <= peer.off {
				return true
			}
		}
		if !h.based {
			return !peer.syn
		}
	}
	off, low := h.offset(t.Seq), h.off
	if h.off == 0 {
		low = -1 // the SYN itself, from those who give up at once
	}
	if h.finDone {
		low++
	}
	return off >= low && off <= h.off+c.window(1-d)+1
}

// edge is the offset up to which the receiver of d can have allowed its peer to
// send, as far as it was heard.
func (c *conn) edge(d bus.Dir) int64 {
	h := &c.half[d]
	if !c.half[1-d].seen {
		if h.syn && h.off == 0 {
			return 1 << 16 // the window of a SYN is not scaled (RFC 7323, section 2.2)
		}
		return h.off + maxJump
	}
	return max(h.off, h.acked) + c.window(1-d)
}

// plausible reports whether a segment's number can belong to c.
func (c *conn) plausible(d bus.Dir, t *wire.Segment) bool {
	h := &c.half[d]
	off := h.offset(t.Seq)
	return !h.based || off+int64(t.Len) >= -1 && off <= c.edge(d)
}

// window is what the sender of d offers, in bytes.
func (c *conn) window(d bus.Dir) int64 {
	h := &c.half[d]
	scale := uint8(14)
	if h.scaled {
		scale = h.scale
	}
	return max(int64(h.window)<<scale, 1<<16)
}
