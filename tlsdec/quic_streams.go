package tlsdec

import (
	"maps"
	"slices"

	"clipper/bus"
)

// Limits of the streams of a QUIC connection. Beyond them the oldest are given up.
const (
	maxQUICStreams  = 16 << 10
	maxQUICPending  = 8 << 20 // bytes behind holes
	maxQUICSegments = 16 << 10
	maxQUICClosed   = 4 << 10 // streams that were closed before others of their type with a lower number
)

// quicStreams puts the streams of a connection together (RFC 9000, section 2.2).
type quicStreams struct {
	open     map[uint64]*quicStream
	closed   [4]quicClosed // by the type of the stream, the two low bits of its id
	pending  int           // bytes behind holes
	segments int
}

// quicStream is one stream; a unidirectional one uses one of its halves.
type quicStream struct{ halves [2]quicHalf }

// quicHalf is one direction of a stream.
type quicHalf struct {
	next     uint64 // offset of what is given next
	segments []quicSegment
	sized    bool
	size     uint64 // the final size, if sized
	ended    bool
}

// quicSegment is data behind a hole. Segments ascend and do not overlap.
type quicSegment struct {
	offset uint64
	data   []byte
	time   int64
}

// quicClosed is a set of stream numbers, which are ids without the type.
type quicClosed struct {
	below uint64 // these all are
	more  []uint64
}

func (q *quicClosed) has(n uint64) bool {
	_, found := slices.BinarySearch(q.more, n)
	return n < q.below || found
}

func (q *quicClosed) add(n uint64) {
	if i, found := slices.BinarySearch(q.more, n); !found && n >= q.below {
		q.more = slices.Insert(q.more, i, n)
	}
	if len(q.more) > maxQUICClosed {
		q.below = q.more[0]
	}
	for len(q.more) > 0 && q.more[0] <= q.below {
		q.below = max(q.below, q.more[0]+1)
		q.more = q.more[1:]
	}
}

// quicUni reports whether a stream has one direction only, and which (RFC 9000, section 2.1).
func quicUni(id uint64) (uni bool, d bus.Dir) { return id&2 != 0, bus.Dir(id & 1) }

// half is where data of a stream belongs; nil if there can be none any more.
func (q *quicStreams) half(id uint64, d bus.Dir) *quicHalf {
	if uni, from := quicUni(id); uni && from != d || q.closed[id&3].has(id>>2) {
		return nil
	}
	x := q.open[id]
	if x == nil {
		if len(q.open) >= maxQUICStreams {
			return nil // of which most lost their ends
		}
		x = new(quicStream)
		if uni, from := quicUni(id); uni {
			x.halves[1-from].ended = true
		}
		if q.open == nil {
			q.open = map[uint64]*quicStream{}
		}
		q.open[id] = x
	}
	if h := &x.halves[d]; !h.ended {
		return h
	}
	return nil
}

// streamData takes a STREAM frame.
func (c *conn) streamData(d bus.Dir, f quicFrame, t int64) {
	q := &c.quic.streams
	h := q.half(f.stream, d)
	if h == nil || f.offset+uint64(len(f.data)) >= 1<<62 {
		return
	}
	if f.fin && !h.sized {
		h.sized, h.size = true, f.offset+uint64(len(f.data))
	}
	if f.offset > h.next {
		q.keep(c, h, quicSegment{f.offset, f.data, t})
	} else if end := f.offset + uint64(len(f.data)); end > h.next {
		c.giveStream(d, f.stream, h, f.data[h.next-f.offset:], t)
	}
	c.drainStream(d, f.stream, h, t)
	if q.pending > maxQUICPending || q.segments > maxQUICSegments {
		c.skipHoles(maxQUICPending/2, maxQUICSegments/2)
	}
}

// giveStream gives the next bytes of a stream.
func (c *conn) giveStream(d bus.Dir, id uint64, h *quicHalf, b []byte, t int64) {
	c.flushInfo(t)
	c.tls.data = true
	c.give(&bus.Record{Type: bus.Data, Dir: d, Stream: id, Offset: h.next, Time: t, Payload: b})
	h.next += uint64(len(b))
}

// drainStream gives what has no hole before it any more, and the end.
func (c *conn) drainStream(d bus.Dir, id uint64, h *quicHalf, t int64) {
	q := &c.quic.streams
	for len(h.segments) > 0 && h.segments[0].offset <= h.next {
		s := h.segments[0]
		q.drop(c, h)
		if end := s.offset + uint64(len(s.data)); end > h.next {
			c.giveStream(d, id, h, s.data[h.next-s.offset:], s.time)
		}
	}
	if h.sized && h.next >= h.size {
		c.flushInfo(t)
		c.give(&bus.Record{Type: bus.Fin, Dir: d, Stream: id, Offset: h.next, Time: t})
		c.endStream(d, id, h)
	}
}

// resetStream takes a RESET_STREAM frame: what is not there yet will not come.
func (c *conn) resetStream(d bus.Dir, f quicFrame, t int64) {
	h := c.quic.streams.half(f.stream, d)
	if h == nil {
		return
	}
	c.flushInfo(t)
	c.give(&bus.Record{Type: bus.Reset, Dir: d, Stream: f.stream, Offset: h.next, Time: t, Aux: uint32(min(f.code, 1<<32-1))})
	c.endStream(d, f.stream, h)
}

func (c *conn) endStream(d bus.Dir, id uint64, h *quicHalf) {
	q := &c.quic.streams
	for len(h.segments) > 0 {
		q.drop(c, h)
	}
	h.ended = true
	if x := q.open[id]; x.halves[0].ended && x.halves[1].ended {
		delete(q.open, id)
		q.closed[id&3].add(id >> 2)
	}
}

// keep keeps a copy of what of s is new.
func (q *quicStreams) keep(c *conn, h *quicHalf, s quicSegment) {
	i, _ := slices.BinarySearchFunc(h.segments, s.offset, func(a quicSegment, at uint64) int {
		if a.offset+uint64(len(a.data)) <= at {
			return -1
		}
		return 1
	})
	// From i on segments end behind the beginning of s. Only what lies between them is new.
	for ; len(s.data) > 0; i++ {
		n := uint64(len(s.data))
		if i < len(h.segments) {
			if o := &h.segments[i]; o.offset <= s.offset {
				skip := min(o.offset+uint64(len(o.data))-s.offset, n)
				s.offset, s.data = s.offset+skip, s.data[skip:]
				continue
			} else {
				n = min(n, o.offset-s.offset)
			}
		}
		k := quicSegment{s.offset, append([]byte(nil), s.data[:n]...), s.time}
		h.segments = slices.Insert(h.segments, i, k)
		q.pending += len(k.data)
		q.segments++
		c.addHeld(k.cost())
		s.offset, s.data = s.offset+n, s.data[n:]
	}
}

func (s *quicSegment) cost() int { return len(s.data) + bus.RecordLen }

// drop forgets the first segment of h.
func (q *quicStreams) drop(c *conn, h *quicHalf) {
	s := &h.segments[0]
	q.pending -= len(s.data)
	q.segments--
	c.addHeld(-s.cost())
	*s = quicSegment{}
	if h.segments = h.segments[1:]; len(h.segments) == 0 {
		h.segments = nil
	}
}

// skipHoles gives holes up that have something behind them, those of the oldest
// streams first, until no more than these are left.
func (c *conn) skipHoles(pending, segments int) {
	q := &c.quic.streams
	for _, id := range slices.Sorted(maps.Keys(q.open)) {
		x := q.open[id]
		for d := range x.halves {
			for h := &x.halves[d]; len(h.segments) > 0; {
				if q.pending <= pending && q.segments <= segments {
					return
				}
				s := &h.segments[0]
				t := s.time
				c.giveHole(bus.Dir(d), id, h, s.offset, t)
				c.drainStream(bus.Dir(d), id, h, t)
			}
		}
	}
}

// endStreams gives up what will never come.
func (c *conn) endStreams() {
	q := &c.quic.streams
	c.skipHoles(0, 0)
	for _, id := range slices.Sorted(maps.Keys(q.open)) {
		x := q.open[id]
		for d := range x.halves {
			if h := &x.halves[d]; !h.ended && h.sized {
				c.giveHole(bus.Dir(d), id, h, h.size, c.at)
				c.drainStream(bus.Dir(d), id, h, c.at)
			}
		}
	}
}

// giveHole gives a gap up to an offset.
func (c *conn) giveHole(d bus.Dir, id uint64, h *quicHalf, to uint64, t int64) {
	c.flushInfo(t)
	for h.next < to {
		n := min(to-h.next, 1<<30)
		c.give(&bus.Record{Type: bus.Gap, Dir: d, Stream: id, Offset: h.next, Time: t, Aux: uint32(n)})
		h.next += n
	}
}
