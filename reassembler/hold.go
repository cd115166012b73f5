package reassembler

import (
	"slices"

	"clipper/bus"
)

// hold keeps a segment for later. Where it overlaps with held ones, what begins
// earlier in the stream wins, and of two that begin alike the first to come: it
// is the order in which a receiver processes what it holds (RFC 9293, section
// 3.10.7.4), and what BSD, Linux and gVisor do but for the ties.
func (s *Stage) hold(c *conn, d bus.Dir, off, end int64, data []byte) {
	h := &c.half[d]
	i, _ := slices.BinarySearchFunc(h.held, off, func(g segment, off int64) int {
		if g.end <= off {
			return -1
		}
		return 1
	})
	again := false
	if i < len(h.held) && h.held[i].off <= off {
		g := &h.held[i]
		again = true
		g.conflict = g.conflict || overlapDiffers(off, data, g)
		data = data[min(g.end-off, int64(len(data))):]
		off = g.end
		i++
	}
	if off < end {
		n := segment{off: off, end: end, time: s.now, data: append([]byte(nil), data...)}
		covered, conflict := s.yield(h, i, off, end, data)
		n.conflict = conflict
		again = again || covered
		h.held = slices.Insert(h.held, i, n)
		h.heldSize += n.cost()
		s.held += n.cost()
	}
	if again {
		c.end.Retransmits++
	}
	if !h.based {
		s.await(c, h)
	}
	for h.heldSize > maxHeld || len(h.held) > maxSegments {
		s.skip(c, d)
	}
	// Nobody may hold more than is left for all: a few greedy connections
	// cannot starve the others.
	for h.heldSize > maxHeldTotal-s.held {
		s.settle()
		s.skip(c, d)
	}
}

// yield takes what lies in [off, end) out of the held segments from i on. It
// reports whether that was anything, and other bytes than data.
func (s *Stage) yield(h *half, i int, off, end int64, data []byte) (any, differs bool) {
	j := i
	for ; j < len(h.held) && h.held[j].off < end; j++ {
		g := &h.held[j]
		any = true
		differs = differs || overlapDiffers(off, data, g)
		s.unhold(h, g)
		if g.end > end {
			g.data = g.data[min(end-g.off, int64(len(g.data))):]
			g.off = end
			h.heldSize += g.cost()
			s.held += g.cost()
			break
		}
	}
	h.held = slices.Delete(h.held, i, j)
	return any, differs
}

func (s *Stage) unhold(h *half, g *segment) {
	h.heldSize -= g.cost()
	s.held -= g.cost()
}
