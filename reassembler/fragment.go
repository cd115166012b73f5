package reassembler

import (
	"clipper/reassembler/internal/wire"
)

// Limits of IP reassembly.
const (
	fragmentAge  = tailLimit // RFC 8200, section 4.5: 60 s
	maxPackets   = 1 << 12   // incomplete or remembered
	maxPieces    = 1 << 9    // fragments of one packet
	maxFragBytes = 16 << 20  // payload bytes in all
	maxPacket    = 1 << 16   // bytes of a reassembled packet
)

// packetKey names the packet that fragments belong to (RFC 791, section 3.2;
// RFC 8200, section 4.5).
type packetKey struct {
	src, dst wire.Addr
	id       uint32
	proto    uint8 // IPv4 only
	v6       bool
}

// fragments are the pieces of one packet, in order. An entry outlives its
// packet by fragmentAge, as the package comment explains.
type fragments struct {
	key    packetKey
	mark   *mark
	timer  timer
	last   int64 // latest packet time
	begun  int64 // packet time of the first piece
	proto  uint8
	total  int // bytes of the whole; -1: the last piece is missing
	size   int // bytes of the pieces
	pieces []fragment

	prev, next *fragments
}

type fragment struct {
	off  int
	data []byte
}

// fragment takes an IP fragment. If it completes its packet, the packet
// replaces it in s.packet.
func (s *Stage) fragment(p *wire.Packet) bool {
	k := packetKey{src: p.Src, dst: p.Dst, id: p.FragID, v6: p.V6}
	if !p.V6 {
		k.proto = p.Proto
	}
	f := s.packets[k]
	if f == nil {
		f = s.newFragments(k)
	}
	f.last = max(f.last, s.now)
	if len(f.pieces) > 0 && s.now >= after(f.begun, fragmentAge) {
		s.dropPieces(f)
	}
	if len(p.Data) < p.Len || p.FragMore && p.Len%8 != 0 || p.Len == 0 || p.FragOff+p.Len > maxPacket {
		return false
	}
	if !s.insert(f, p) {
		s.dropPieces(f)
		return false
	}
	if f.size != f.total {
		return false
	}
	whole := make([]byte, 0, f.total)
	for _, g := range f.pieces {
		whole = append(whole, g.data...)
	}
	p.Proto = f.proto
	s.parts = f.mark
	s.dropPieces(f)
	return p.DecodeReassembled(whole)
}

// insert adds a piece. Overlapping pieces condemn the packet (RFC 8200,
// section 4.5; the same is done for IPv4), but for exact duplicates.
func (s *Stage) insert(f *fragments, p *wire.Packet) bool {
	off, end := p.FragOff, p.FragOff+p.Len
	i := len(f.pieces)
	for i > 0 && f.pieces[i-1].off >= off {
		i--
	}
	if i < len(f.pieces) && f.pieces[i].off == off && len(f.pieces[i].data) == p.Len {
		return true
	}
	if i > 0 && f.pieces[i-1].off+len(f.pieces[i-1].data) > off || i < len(f.pieces) && f.pieces[i].off < end {
		return false
	}
	switch {
	case !p.FragMore && (f.total >= 0 || i < len(f.pieces)):
		return false
	case !p.FragMore:
		f.total = end
	case f.total >= 0 && end > f.total:
		return false
	}
	if len(f.pieces) >= maxPieces {
		return false
	}
	if s.fragBytes+p.Len > maxFragBytes {
		s.settle()
		return false
	}
	if len(f.pieces) == 0 {
		f.begun = s.now
	}
	if off == 0 {
		f.proto = p.Proto
	}
	f.pieces = append(f.pieces, fragment{})
	copy(f.pieces[i+1:], f.pieces[i:])
	f.pieces[i] = fragment{off, append([]byte(nil), p.Data...)}
	f.size += p.Len
	s.fragBytes += p.Len
	return true
}

func (s *Stage) newFragments(k packetKey) *fragments {
	for len(s.packets) >= maxPackets {
		s.settle()
		s.forgetFragments(s.oldest)
	}
	f := &fragments{key: k, mark: s.here(), last: s.now, total: -1, timer: timer{at: -1}}
	f.timer.fragments, f.timer.order = f, s.frame
	s.link(f)
	s.timers.set(&f.timer, after(f.last, fragmentAge))
	return f
}

// link makes f the newest packet.
func (s *Stage) link(f *fragments) {
	s.packets[f.key] = f
	if f.prev = s.newest; f.prev != nil {
		f.prev.next = f
	} else {
		s.oldest = f
	}
	s.newest = f
}

func (s *Stage) dropPieces(f *fragments) {
	s.fragBytes -= f.size
	f.pieces, f.size, f.total = nil, 0, -1
}

func (s *Stage) forgetFragments(f *fragments) {
	s.dropPieces(f)
	s.timers.remove(&f.timer)
	s.release(f.mark)
	delete(s.packets, f.key)
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.oldest = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		s.newest = f.prev
	}
}
