package reassembler

import (
	"encoding/binary"
	"math"

	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// snapshotVersion changes with the meaning of anything below.
const snapshotVersion = 1

var _ bus.Snapshotter = (*Stage)(nil)

// AppendSnapshot implements bus.Snapshotter. A snapshot has the connections in
// the order of their lists, then the incomplete packets.
func (s *Stage) AppendSnapshot(b []byte) []byte {
	b = binary.AppendUvarint(b, snapshotVersion)
	b = bus.AppendBool(b, s.replayable)
	b = bus.AppendBool(b, s.eos)
	for _, l := range s.lists() {
		b = binary.AppendUvarint(b, uint64(l.n))
		for c := l.head; c != nil; c = c.next {
			b = c.append(b)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(s.packets)))
	for f := s.oldest; f != nil; f = f.next {
		b = f.append(b)
	}
	return b
}

// Restore implements bus.Snapshotter.
func (s *Stage) Restore(b []byte, pos uint64) error {
	r := bus.NewSnapshotReader(b)
	if r.Uint(math.MaxUint64) != snapshotVersion {
		return bus.ErrSnapshot
	}
	s.replayable, s.eos = r.Bool(), r.Bool()
	s.pos = pos
	for i, l := range s.lists() {
		for range r.Count(connSize) {
			c := s.restoreConn(r)
			if ended := l == &s.ended; r.Failed() || s.conns.get(&c.key) != nil || ended != c.ended || c.udp() && i > 0 || c.firm != (l == &s.grown) && !ended {
				return bus.ErrSnapshot
			}
			s.conns.put(c)
			l.push(c)
			if !c.ended {
				s.live.n++
			}
		}
	}
	for range r.Count(fragmentsSize) {
		f := s.restoreFragments(r)
		if r.Failed() || s.packets[f.key] != nil {
			return bus.ErrSnapshot
		}
		s.link(f)
	}
	if s.live.n > maxOpen || s.ended.n > maxTombstones || s.held > maxHeldTotal || len(s.packets) > maxPackets || s.fragBytes > maxFragBytes {
		return bus.ErrSnapshot
	}
	s.pos = 0 // no message has this one
	return r.Done()
}

func (s *Stage) lists() [3]*connList { return [3]*connList{&s.young, &s.grown, &s.ended} }

// Sizes of the smallest connection and packet in a snapshot, in bytes, at least.
const (
	connSize      = 50
	fragmentsSize = 40
)

// appendBits packs up to 16 booleans.
func appendBits(b []byte, bits ...bool) []byte {
	v := uint16(0)
	for i, bit := range bits {
		if bit {
			v |= 1 << i
		}
	}
	return binary.LittleEndian.AppendUint16(b, v)
}

func readBits(r *bus.SnapshotReader, bits ...*bool) {
	b := r.Fixed(2)
	if b == nil {
		return
	}
	v := binary.LittleEndian.Uint16(b)
	for i, bit := range bits {
		*bit = v>>i&1 != 0
	}
	if v>>len(bits) != 0 {
		r.Fail()
	}
}

func appendInts(b []byte, values ...int64) []byte {
	for _, v := range values {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func readInts(r *bus.SnapshotReader, values ...*int64) {
	for _, v := range values {
		*v = r.Int()
	}
}

func appendNumbers(b []byte, values ...uint32) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

func readNumbers(r *bus.SnapshotReader, values ...*uint32) {
	for _, v := range values {
		if b := r.Fixed(4); b != nil {
			*v = binary.LittleEndian.Uint32(b)
		}
	}
}

// readOffsets reads stream offsets, which are far from where they overflow.
func readOffsets(r *bus.SnapshotReader, values ...*int64) {
	readInts(r, values...)
	for _, v := range values {
		if *v > math.MaxInt64>>2 || *v < math.MinInt64>>2 {
			r.Fail()
		}
	}
}

func (c *conn) append(b []byte) []byte {
	b = c.key.append(b)
	b = appendBits(b, c.clientIsB, c.firm, c.answered, c.tail, c.ended, c.pending != nil)
	b = binary.AppendUvarint(b, c.order)
	b = appendInts(b, c.last, c.timer.due)
	b = bus.AppendBytes(b, []byte(c.end.Reason))
	b = binary.AppendUvarint(b, c.end.Retransmits)
	b = binary.AppendUvarint(b, c.end.LostBytes)
	if p := c.pending; p != nil {
		b = append(b, byte(p.dir), p.scale)
		b = appendNumbers(b, p.seq, p.window)
		b = binary.AppendUvarint(b, p.frame)
		b = appendInts(b, p.time)
	}
	for i := range c.half {
		b = c.half[i].append(b)
	}
	return b
}

func (s *Stage) restoreConn(r *bus.SnapshotReader) *conn {
	c := s.newConn()
	c.key.read(r)
	var pending bool
	readBits(r, &c.clientIsB, &c.firm, &c.answered, &c.tail, &c.ended, &pending)
	c.order = r.Uint(math.MaxUint64)
	readInts(r, &c.last, &c.timer.due)
	c.end = bus.ConnEnd{Reason: bus.EndReason(r.Bytes()), Retransmits: r.Uint(math.MaxUint64), LostBytes: r.Uint(math.MaxUint64)}
	if pending {
		p := &pendingSYN{mark: s.here()}
		p.dir, p.scale = bus.Dir(r.Uint(1)), uint8(r.Uint(math.MaxUint8))
		readNumbers(r, &p.seq, &p.window)
		p.frame = r.Uint(math.MaxUint64)
		readInts(r, &p.time)
		c.pending = p
		if c.ended {
			r.Fail()
		}
	}
	for i := range c.half {
		s.restoreHalf(&c.half[i], r)
	}
	c.id, c.mark = connID(s.session, &c.key, c.order), s.here()
	c.timer.conn, c.timer.order = c, c.order
	s.timers.set(&c.timer, c.timer.due)
	return c
}

func (k *flowKey) append(b []byte) []byte {
	b = append(b, k.proto)
	b = bus.AppendBool(b, k.v6)
	for _, e := range []*endpoint{&k.a, &k.b} {
		b = binary.LittleEndian.AppendUint16(append(b, e.addr[:]...), e.port)
	}
	return b
}

func (k *flowKey) read(r *bus.SnapshotReader) {
	if b := r.Fixed(1); b != nil {
		k.proto = b[0]
	}
	if k.proto != wire.ProtoTCP && k.proto != wire.ProtoUDP {
		r.Fail()
	}
	k.v6 = r.Bool()
	for _, e := range []*endpoint{&k.a, &k.b} {
		if b := r.Fixed(len(e.addr) + 2); b != nil {
			e.port = binary.LittleEndian.Uint16(b[copy(e.addr[:], b):])
		}
	}
}

func (h *half) append(b []byte) []byte {
	b = appendBits(b, h.based, h.loose, h.heard, h.seen, h.syn, h.scaled, h.fin, h.finDone, h.conflict)
	b = append(b, h.scale)
	b = appendNumbers(b, h.isn, h.seq, h.base, h.hint, h.window)
	b = appendInts(b, h.off, h.acked, h.finOff, h.gapAt)
	held := h.held.list()
	b = binary.AppendUvarint(b, uint64(len(held)))
	for i := range held {
		g := &held[i]
		b = appendInts(b, g.off, g.end, g.time)
		b = bus.AppendBool(b, g.conflict)
		b = bus.AppendBytes(b, g.data)
	}
	return h.appendHistory(b)
}

func (s *Stage) restoreHalf(h *half, r *bus.SnapshotReader) {
	readBits(r, &h.based, &h.loose, &h.heard, &h.seen, &h.syn, &h.scaled, &h.fin, &h.finDone, &h.conflict)
	h.scale = uint8(r.Uint(math.MaxUint8))
	readNumbers(r, &h.isn, &h.seq, &h.base, &h.hint, &h.window)
	readOffsets(r, &h.off, &h.acked, &h.finOff)
	readInts(r, &h.gapAt)
	last := int64(math.MinInt64)
	for range r.Count(5) {
		var g segment
		readOffsets(r, &g.off, &g.end)
		readInts(r, &g.time)
		g.conflict = r.Bool()
		g.data = append([]byte(nil), r.Bytes()...)
		if g.off < last || g.off >= g.end || int64(len(g.data)) > g.end-g.off {
			r.Fail()
			return
		}
		last = g.end
		s.keep(h, len(h.held.list()), g)
	}
	s.restoreHistory(h, r)
}

// appendHistory writes the pieces, the oldest first.
func (h *half) appendHistory(b []byte) []byte {
	n := min(h.pieces, historyPieces)
	b = append(b, n)
	for i := h.pieces - n; i < h.pieces; i++ {
		p := &h.history[i%historyPieces]
		b = bus.AppendBytes(appendInts(b, p.off), p.data[:p.n])
	}
	return b
}

func (s *Stage) restoreHistory(h *half, r *bus.SnapshotReader) {
	for range r.Uint(historyPieces) {
		var off int64
		readOffsets(r, &off)
		data := r.Bytes()
		if len(data) > historyBytes {
			r.Fail()
			return
		}
		h.remember(s, off, data)
	}
}

func (f *fragments) append(b []byte) []byte {
	b = append(append(b, f.key.src[:]...), f.key.dst[:]...)
	b = appendNumbers(b, f.key.id)
	b = append(b, f.key.proto, f.proto)
	b = bus.AppendBool(b, f.key.v6)
	b = binary.AppendUvarint(b, f.timer.order)
	b = appendInts(b, f.last, f.begun, f.timer.due, int64(f.total))
	b = binary.AppendUvarint(b, uint64(len(f.pieces)))
	for _, g := range f.pieces {
		b = bus.AppendBytes(binary.AppendUvarint(b, uint64(g.off)), g.data)
	}
	return b
}

func (s *Stage) restoreFragments(r *bus.SnapshotReader) *fragments {
	f := &fragments{mark: s.here(), timer: timer{at: -1}}
	copy(f.key.src[:], r.Fixed(len(f.key.src)))
	copy(f.key.dst[:], r.Fixed(len(f.key.dst)))
	readNumbers(r, &f.key.id)
	if b := r.Fixed(2); b != nil {
		f.key.proto, f.proto = b[0], b[1]
	}
	f.key.v6 = r.Bool()
	f.timer.fragments, f.timer.order = f, r.Uint(math.MaxUint64)
	var total int64
	readInts(r, &f.last, &f.begun, &f.timer.due, &total)
	f.total = int(total)
	end := 0
	for range r.Count(2) {
		off := int(r.Uint(maxPacket))
		data := append([]byte(nil), r.Bytes()...)
		if off < end || len(data) == 0 || off+len(data) > maxPacket {
			r.Fail()
			return f
		}
		end = off + len(data)
		f.pieces = append(f.pieces, fragment{off, data})
		f.size += len(data)
		s.fragBytes += len(data)
	}
	if len(f.pieces) > maxPieces || total < -1 || total >= 0 && total < int64(end) || total > maxPacket {
		r.Fail()
	}
	s.timers.set(&f.timer, f.timer.due)
	return f
}
