package coding

import (
	"encoding"
	"errors"
	"hash/adler32"

	"clipper/httpdec/internal/snapshot"
)

// The kinds of decoders in a snapshot.
const (
	kindNone uint8 = iota
	kindGzip
	kindDeflate
	kindLZW
	kindReplayed
	kindStack
)

// Snapshot visits a decoder that has not failed; nil is none.
func Snapshot(s *snapshot.State, d *Decoder) { visit(s, d, MaxStack) }

func visit(s *snapshot.State, d *Decoder, depth int) {
	kind := kindNone
	switch (*d).(type) {
	case *gzip:
		kind = kindGzip
	case *deflate:
		kind = kindDeflate
	case *lzw:
		kind = kindLZW
	case *replayed:
		kind = kindReplayed
	case *stack:
		kind = kindStack
	}
	snapshot.Int(s, &kind)
	s.Check(depth > 0)
	if s.Damaged() {
		return
	}
	if s.Reading() {
		*d = nil
		switch kind {
		case kindNone:
		case kindGzip:
			*d = newGzip()
		case kindDeflate:
			*d = newDeflate()
		case kindLZW:
			*d = &lzw{}
		case kindReplayed:
			*d = &replayed{}
		case kindStack:
			*d = &stack{}
		default:
			s.Check(false)
		}
	}
	switch d := (*d).(type) {
	case *gzip:
		d.snapshot(s)
	case *deflate:
		d.snapshot(s)
	case *lzw:
		d.snapshot(s)
	case *replayed:
		d.snapshot(s)
	case *stack:
		visit(s, &d.outer, depth-1)
		visit(s, &d.inner, depth-1)
		s.Check(d.outer != nil && d.inner != nil)
	}
}

// errorText visits an error, of which only the text counts.
func errorText(s *snapshot.State, err *error) {
	text := ""
	if *err != nil {
		text = (*err).Error()
	}
	if snapshot.Bytes(s, &text, 1024); s.Reading() && text != "" {
		*err = errors.New(text)
	}
}

func (g *gzip) snapshot(s *snapshot.State) {
	snapshot.Index(s, &g.state, int(gzipTrailer))
	snapshot.Bytes(s, &g.head, maxGzipHeader)
	snapshot.Int(s, &g.crc)
	snapshot.Int(s, &g.size)
	snapshot.Int(s, &g.members)
	visitInflate(s, &g.f)
	s.Check((g.f != nil) == (g.state == gzipData) && (g.state != gzipTrailer || len(g.head) < 8))
}

func (d *deflate) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &d.head, 1)
	s.Bool(&d.started)
	s.Bool(&d.zlib)
	s.Bool(&d.done)
	snapshot.Bytes(s, &d.tail, 5)
	visitInflate(s, &d.f)
	var sum []byte
	if d.zlib {
		if s.Reading() {
			d.sum = adler32.New()
		} else {
			sum, _ = d.sum.(encoding.BinaryMarshaler).MarshalBinary() // which never fails
		}
		if snapshot.Bytes(s, &sum, 64); s.Reading() {
			s.Check(d.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(sum) == nil)
		}
	}
	s.Check((d.f != nil) == (d.started && !d.done))
}

func visitInflate(s *snapshot.State, f **inflate) {
	any := *f != nil
	if s.Bool(&any); !any {
		return
	}
	if s.Reading() {
		*f = newInflate()
	}
	(*f).snapshot(s)
}

// snapshot visits the bits that are not consumed, the code lengths, from which
// the tables follow, and the history that a match can reach.
func (f *inflate) snapshot(s *snapshot.State) {
	snapshot.Index(s, &f.state, int(inflateEnd))
	s.Bool(&f.final)
	snapshot.Int(s, &f.bits)
	snapshot.Index(s, &f.nbits, 63)
	snapshot.Index(s, &f.stored, 1<<16)
	snapshot.Index(s, &f.nlit, 286)
	snapshot.Index(s, &f.ndist, 30)
	snapshot.Index(s, &f.nclen, 19)
	snapshot.Index(s, &f.have, 286+30)
	lengths, codes := f.lengths[:], f.codeLengths[:]
	snapshot.Bytes(s, &lengths, len(f.lengths))
	snapshot.Bytes(s, &codes, len(f.codeLengths))
	fixed := f.state == inflateSymbols && f.lit == &fixedLit
	s.Bool(&fixed)
	snapshot.Index(s, &f.pos, len(f.buf))
	history := f.buf[max(0, f.pos-windowSize):f.pos]
	snapshot.Bytes(s, &history, windowSize)
	if !s.Reading() {
		return
	}
	s.Check(len(lengths) == len(f.lengths) && len(codes) == len(f.codeLengths) && len(history) == min(f.pos, windowSize) && f.bits>>f.nbits == 0)
	if s.Damaged() {
		return
	}
	copy(f.lengths[:], lengths)
	copy(f.codeLengths[:], codes)
	copy(f.buf[f.pos-len(history):], history)
	f.flushed = f.pos
	f.lit, f.dist = &fixedLit, &fixedDist
	switch {
	case f.state == inflateCodeLengths:
		s.Check(f.have <= f.nclen)
	case f.state == inflateLengths:
		f.clen = &f.tables[2]
		s.Check(f.clen.init(f.codeLengths[:]) && f.have <= f.nlit+f.ndist && f.nlit > 256)
	case f.state == inflateSymbols && !fixed:
		f.lit, f.dist = &f.tables[0], &f.tables[1]
		s.Check(f.lit.init(f.lengths[:f.nlit]) && f.dist.init(f.lengths[f.nlit:f.nlit+f.ndist]))
	}
}

func (z *lzw) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &z.head, 3)
	snapshot.Index(s, &z.width, 17)
	snapshot.Int(s, &z.bits)
	snapshot.Index(s, &z.nbits, 63)
	snapshot.Index(s, &z.codes, 1<<30)
	snapshot.Index(s, &z.skip, 8*16)
	snapshot.Index(s, &z.next, 1<<16)
	snapshot.Int(s, &z.prev)
	snapshot.Int(s, &z.first)
	if len(z.head) < 3 {
		return
	}
	if s.Reading() {
		if bad := z.badHead(); bad {
			s.Check(false)
			return
		}
		next, prev, width := z.next, z.prev, z.width
		z.start()
		z.next, z.prev, z.width = next, prev, width
		s.Check(next >= 256 && next <= 1<<z.max && prev >= -1 && prev < next && (prev < 0 || prev < max(next, 256)) && width >= 9 && width <= z.max && z.bits>>z.nbits == 0)
		if s.Damaged() {
			return
		}
	}
	for i := 256; i < z.next; i++ {
		snapshot.Int(s, &z.prefix[i])
		snapshot.Int(s, &z.suffix[i])
		s.Check(int(z.prefix[i]) < i)
		if s.Damaged() {
			return
		}
	}
}

// Snapshot visits the state between two calls.
func (m *Messages) Snapshot(s *snapshot.State) {
	s.Bool(&m.takeover)
	visitInflate(s, &m.f)
	errorText(s, &m.err)
}
