package reassembler

import (
	"slices"

	"clipper/bus"
)

// holding are the segments of a half that came before what is next in order.
type holding struct {
	segments []segment // ascending, without overlaps; not empty
	size     int       // payload bytes and segmentCost
	room     []segment // what segments began as
}

// segment is payload that waits for what is missing before it. data may be
// shorter than the segment was: the capture cut it.
type segment struct {
	off, end int64
	time     int64
	data     []byte
	conflict bool
}

func (g *segment) cost() int { return len(g.data) + segmentCost }

func (l *holding) list() []segment {
	if l == nil {
		return nil
	}
	return l.segments
}

// hold keeps a segment for later. Where it overlaps with held ones, what begins
// earlier in the stream wins, and of two that begin alike the first to come: it
// is the order in which a receiver processes what it holds (RFC 9293, section
// 3.10.7.4), and what BSD, Linux and gVisor do but for the ties.
func (s *Stage) hold(c *conn, d bus.Dir, off, end int64, data []byte) {
	h := &c.half[d]
	i, _ := slices.BinarySearchFunc(h.held.list(), off, func(g segment, off int64) int {
		if g.end <= off {
			return -1
		}
		return 1
	})
	again := false
	if held := h.held.list(); i < len(held) && held[i].off <= off {
		g := &held[i]
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
		s.keep(h, i, n)
	}
	if again {
		s.resent(c, d)
	}
	if !h.based {
		s.await(c, h)
	}
	for h.held != nil && (h.held.size > maxHeld || len(h.held.segments) > maxSegments) {
		s.skip(c, d)
	}
	// Nobody may hold more than is left for all: a few greedy connections
	// cannot starve the others.
	for h.held != nil && h.held.size > maxHeldTotal-s.held {
		s.settle()
		s.skip(c, d)
	}
}

// yield takes what lies in [off, end) out of the held segments from i on. It
// reports whether that was anything, and other bytes than data.
func (s *Stage) yield(h *half, i int, off, end int64, data []byte) (any, differs bool) {
	j, held := i, h.held.list()
	for ; j < len(held) && held[j].off < end; j++ {
		g := &held[j]
		any = true
		differs = differs || overlapDiffers(off, data, g)
		s.unhold(h, g)
		if g.end > end {
			g.data = g.data[min(end-g.off, int64(len(g.data))):]
			g.off = end
			h.held.size += g.cost()
			s.held += g.cost()
			break
		}
	}
	if i < j {
		h.held.segments = slices.Delete(held, i, j)
		s.keepOnly(h, 0, len(h.held.segments))
	}
	return any, differs
}

// keep holds a segment as the one of index i.
func (s *Stage) keep(h *half, i int, g segment) {
	l := h.held
	if l == nil {
		if n := len(s.holdings); n > 0 {
			l, s.holdings = s.holdings[n-1], s.holdings[:n-1]
		} else {
			l = &holding{}
		}
		h.held = l
	}
	room := cap(l.segments)
	if l.segments = slices.Insert(l.segments, i, g); cap(l.segments) != room {
		l.room = l.segments
	}
	l.size += g.cost()
	s.held += g.cost()
}

// keepOnly holds on to the segments from index i to j alone.
func (s *Stage) keepOnly(h *half, i, j int) {
	l := h.held
	clear(l.segments[:i])
	clear(l.segments[j:])
	if l.segments = l.segments[i:j]; i == j {
		l.segments, h.held = l.room[:0], nil
		if cap(l.room) <= 64 {
			s.holdings = append(s.holdings, l)
		}
	}
}

// unhold counts a segment that is not held any more.
func (s *Stage) unhold(h *half, g *segment) {
	h.held.size -= g.cost()
	s.held -= g.cost()
}
