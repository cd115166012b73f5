package reassembler

import (
	"bytes"

	"clipper/bus"
)

// half is one direction of a connection: what its sender has sent, as its
// receiver has it. Positions are stream offsets: 0 is the byte after the SYN,
// or the first byte seen.
type half struct {
	off     int64    // everything before has been emitted or given up (RCV.NXT)
	acked   int64    // highest acknowledgment of the receiver: bytes before it existed
	gapAt   int64    // when bytes missing before acked are given up; 0: none are
	held    *holding // nil: nothing is
	history *history
	seq     uint32 // sequence number of the byte at off
	window  uint32 // that the sender of this half offers to its peer, unscaled
	scale   uint8  // window scale that the sender announced
	pieces  uint8  // of history, so far

	based    bool // the place of offset 0 is known
	loose    bool // it is not, and seq and off are those of the first segment
	heard    bool // it is not, and the receiver acknowledged hint
	seen     bool // the sender was: window is its
	syn      bool // the sender's SYN was seen, and isn is its number
	scaled   bool // scale is known
	fin      bool // a FIN at finOff was seen
	finDone  bool // and emitted
	conflict bool // to be flagged on the next Data

	// What few packets need.
	isn    uint32 // initial sequence number
	base   uint32 // sequence number of offset 0
	hint   uint32 // lowest acknowledgment number while not based
	finOff int64

	_ [128 - 80]byte
}

// offset is the stream offset of a sequence number near the present position.
func (h *half) offset(seq uint32) int64 { return h.off + int64(int32(seq-h.seq)) }

func (h *half) advance(n int64) {
	h.off += n
	h.seq += uint32(n)
}

// end is the offset that Fin and Reset report.
func (h *half) end() uint64 { return uint64(max(h.off, 0)) }

// anchor gives segments that come before the base is known offsets relative to
// the first of them.
func (h *half) anchor(seq uint32) {
	if !h.based && !h.loose {
		h.loose, h.seq, h.off = true, seq, 0
	}
}

// setBase fixes the sequence number of offset 0.
func (s *Stage) setBase(h *half, seq uint32) {
	if h.based {
		return
	}
	h.based, h.base = true, seq
	if h.loose {
		shift := h.offset(seq)
		for i := range h.held.list() {
			g := &h.held.segments[i]
			g.off, g.end = g.off-shift, g.end-shift
		}
		for h.held != nil && h.held.segments[0].end <= 0 {
			s.unhold(h, &h.held.segments[0])
			s.keepOnly(h, 1, len(h.held.segments))
		}
		h.finOff -= shift
		h.fin = h.fin && h.finOff >= 0
	}
	h.seq, h.off, h.loose = seq, 0, false
}

// proven is the end of what is known to exist: a FIN takes a number, too.
func (h *half) proven() int64 {
	if h.fin {
		return min(h.acked, h.finOff)
	}
	return h.acked
}

// guessBase fixes offset 0 without the sender's SYN: at the lowest of what the
// receiver acknowledged and what was held.
func (s *Stage) guessBase(c *conn, d bus.Dir) {
	h := &c.half[d]
	base, known := h.hint, h.heard
	if h.held != nil {
		if first := h.seq + uint32(h.held.segments[0].off-h.off); !known || int32(first-base) < 0 {
			base, known = first, true
		}
	}
	if known {
		s.setBase(h, base)
		s.drain(c, d)
	}
}

// receive takes the payload of a segment whose first byte has offset off. n is
// its length on the wire, at least len(data).
func (s *Stage) receive(c *conn, d bus.Dir, off int64, data []byte, n int) {
	h := &c.half[d]
	end := off + int64(n)
	if h.fin && end > h.finOff && h.finOff <= c.edge(d) { // nothing follows a FIN
		end = max(h.finOff, off)
		data = data[:min(int64(len(data)), end-off)]
	}
	if h.based && off < h.off {
		if n > 1 || off != h.off-1 { // else a keep-alive (RFC 9293, section 3.8.4)
			s.resent(c, d)
			h.compare(off, data)
		}
		if end <= h.off {
			return
		}
		cut := h.off - off
		data = data[min(cut, int64(len(data))):]
		off = h.off
	}
	if end <= off {
		return
	}
	if off > h.off || !h.based {
		s.hold(c, d, off, end, data)
		return
	}
	if h.held != nil {
		if _, differs := s.yield(h, 0, off, off+int64(len(data)), data); differs {
			h.conflict = true
		}
	}
	s.deliver(c, d, off+int64(len(data)), data, s.now)
	s.drain(c, d)
	for h.off < end { // cut by the capture
		stop := end
		if h.held != nil {
			stop = min(stop, h.held.segments[0].off)
		}
		s.gap(c, d, stop, s.now)
		s.drain(c, d)
	}
}

// overlapDiffers reports whether data at off has other bytes than g where both
// have any.
func overlapDiffers(off int64, data []byte, g *segment) bool {
	from := max(off, g.off)
	to := min(off+int64(len(data)), g.off+int64(len(g.data)))
	return from < to && !bytes.Equal(data[from-off:to-off], g.data[from-g.off:to-g.off])
}

// deliver emits what is next in order and ends at end; where the capture cut
// data short, a Gap follows.
func (s *Stage) deliver(c *conn, d bus.Dir, end int64, data []byte, time int64) {
	h := &c.half[d]
	if len(data) > 0 {
		var flags bus.Flags
		if h.conflict {
			flags, h.conflict = bus.Conflict, false
		}
		off := h.off
		h.advance(int64(len(data)))
		h.remember(s, off, data)
		s.send(c, bus.Record{Type: bus.Data, Dir: d, Flags: flags, Offset: uint64(off), Time: time, Payload: data})
	}
	if end > h.off {
		s.gap(c, d, end, time)
	}
}

// gap gives up the bytes before end.
func (s *Stage) gap(c *conn, d bus.Dir, end, time int64) {
	h := &c.half[d]
	n := end - h.off
	c.end.LostBytes += uint64(n)
	s.send(c, bus.Record{Type: bus.Gap, Dir: d, Offset: uint64(h.off), Time: time, Aux: uint32(n)})
	h.advance(n)
}

// drain delivers held segments that are next in order.
func (s *Stage) drain(c *conn, d bus.Dir) {
	h := &c.half[d]
	i, held := 0, h.held.list()
	for ; i < len(held) && held[i].off <= h.off; i++ {
		g := held[i]
		s.unhold(h, &g)
		if cut := h.off - g.off; cut > 0 { // after a base that came late
			g.data = g.data[min(cut, int64(len(g.data))):]
		}
		if g.end > h.off {
			h.conflict = h.conflict || g.conflict
			s.deliver(c, d, g.end, g.data, g.time)
		}
	}
	if i > 0 {
		s.keepOnly(h, i, len(held))
	}
}

// settleHalf looks at a half after its position or its proof has moved: a FIN
// may be due, missing bytes may have come.
func (s *Stage) settleHalf(c *conn, d bus.Dir) {
	h := &c.half[d]
	if h.based && h.off >= h.proven() && h.held == nil && h.fin == h.finDone {
		h.gapAt = 0
	}
	if h.fin && !h.finDone && h.based && h.off == h.finOff {
		h.finDone = true
		s.send(c, bus.Record{Type: bus.Fin, Dir: d, Offset: h.end(), Time: s.now})
		if c.half[1-d].finDone {
			s.close(c, bus.EndFIN, nil)
		}
	}
}

// acknowledge takes the acknowledgment number that the receiver of d sent.
func (s *Stage) acknowledge(c *conn, d bus.Dir, ack uint32) {
	h := &c.half[d]
	if !h.based {
		if !h.heard || int32(ack-h.hint) < 0 {
			h.heard, h.hint = true, ack
		}
		if c.half[1-d].syn { // then the SYN/ACK may still come
			s.await(c, h)
			return
		}
		s.guessBase(c, d)
	}
	a := h.offset(ack)
	if a <= h.acked || a-h.off > maxJump {
		return
	}
	h.acked = a
	if h.proven() > h.off {
		s.await(c, h)
	}
}

// await makes sure that giveUp is called after gapDelay.
func (s *Stage) await(c *conn, h *half) {
	if h.gapAt == 0 {
		h.gapAt = max(after(s.now, gapDelay), 1)
		s.timers.set(&c.timer, s.deadline(c))
	}
}

// giveUp emits the acknowledged bytes that are still missing as gaps.
func (s *Stage) giveUp(c *conn, d bus.Dir) {
	h := &c.half[d]
	h.gapAt = 0
	if !h.based {
		s.guessBase(c, d)
	}
	s.fillProven(c, d)
	s.dropFar(c, d)
	s.settleHalf(c, d)
}

// fillProven brings h to its proof.
func (s *Stage) fillProven(c *conn, d bus.Dir) {
	h := &c.half[d]
	for h.off < h.proven() {
		end := h.proven()
		if h.held != nil {
			end = min(end, h.held.segments[0].off)
		} else if h.acked == h.off+1 && !h.fin {
			// The one number at the end is more likely a FIN than a byte.
			h.fin, h.finOff = true, h.off
			break
		}
		s.gap(c, d, end, s.now)
		s.drain(c, d)
	}
}

// dropFar drops what no window can have allowed.
func (s *Stage) dropFar(c *conn, d bus.Dir) {
	h := &c.half[d]
	if !h.based || h.held == nil && !h.fin {
		return
	}
	edge := c.edge(d)
	held := h.held.list()
	i := len(held)
	for ; i > 0 && held[i-1].off > edge; i-- {
		s.unhold(h, &held[i-1])
	}
	if i < len(held) {
		s.keepOnly(h, 0, i)
	}
	if !h.finDone && h.finOff > edge {
		h.fin = false
	}
}

// skip gives up what is missing before the first held segment.
func (s *Stage) skip(c *conn, d bus.Dir) {
	h := &c.half[d]
	if h.held == nil {
		return
	}
	if !h.based {
		s.guessBase(c, d)
	}
	if h.held != nil && h.held.segments[0].off > h.off {
		s.gap(c, d, h.held.segments[0].off, s.now)
	}
	s.drain(c, d)
}

// flush empties a half at the end of its connection.
func (s *Stage) flush(c *conn, d bus.Dir) {
	h := &c.half[d]
	if !h.based {
		s.guessBase(c, d)
	}
	s.fillProven(c, d)
	s.dropFar(c, d)
	for h.held != nil {
		s.skip(c, d)
	}
	h.gapAt = 0
	if h.fin && !h.finDone && h.based && h.off == h.finOff {
		h.finDone = true
		s.send(c, bus.Record{Type: bus.Fin, Dir: d, Offset: h.end(), Time: s.now})
	}
	s.dropHistory(h)
}
