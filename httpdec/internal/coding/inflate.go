package coding

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"sync"
)

// ErrDeflate is damaged DEFLATE data.
var ErrDeflate = errors.New("damaged deflate data")

const (
	windowSize = 32 << 10
	maxMatch   = 258
)

// inflate decodes DEFLATE (RFC 1951) from pushed input. It stops only between
// symbols: a symbol that needs bits which have not come is tried again from
// its start, so that the state is a bit buffer, the tables and the window.
type inflate struct {
	state  inflateState
	final  bool
	bits   uint64 // not yet consumed, the next bit lowest
	nbits  uint
	stored int // bytes left in a stored block

	// The code lengths of a dynamic block while they are read.
	nlit, ndist, nclen, have int
	lengths                  [320]uint8
	codeLengths              [19]uint8 // of the code that they are in

	lit, dist, clen *huffman
	tables          [3]huffman

	buf      [2 * windowSize]byte // history, then output not yet passed on
	pos      int                  // where output goes
	flushed  int                  // what was passed on
	produced uint64
}

type inflateState uint8

const (
	inflateHeader inflateState = iota
	inflateStoredLen
	inflateStored
	inflateDynamic
	inflateCodeLengths
	inflateLengths
	inflateSymbols
	inflateEnd
)

var inflatePool = sync.Pool{New: func() any { return new(inflate) }}

func newInflate() *inflate {
	f := inflatePool.Get().(*inflate)
	f.state, f.final, f.bits, f.nbits, f.pos, f.flushed, f.produced = inflateHeader, false, 0, 0, 0, 0, 0
	return f
}

func (f *inflate) release() { inflatePool.Put(f) }

// write decodes p. At the end of the stream, done is true and rest is what
// follows it.
func (f *inflate) write(p []byte, out func([]byte)) (rest []byte, done bool, err error) {
	for {
		p = f.fill(p)
		var more bool
		p, more, err = f.step(p, out)
		if err != nil || f.state == inflateEnd {
			break
		}
		if !more && len(p) == 0 {
			break
		}
	}
	f.flush(out)
	if err != nil || f.state != inflateEnd {
		return nil, false, err
	}
	// Whole bytes in the bit buffer belong to what follows.
	back := int(f.nbits / 8)
	if back == 0 {
		return p, true, nil
	}
	b := make([]byte, back, back+len(p))
	v := f.bits >> (f.nbits % 8)
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	f.nbits, f.bits = 0, 0
	return append(b, p...), true, nil
}

// fill tops up the bit buffer to 56 bits or more, as far as p goes.
func (f *inflate) fill(p []byte) []byte {
	if len(p) >= 8 {
		f.bits |= binary.LittleEndian.Uint64(p) << f.nbits
		n := (63 - f.nbits) / 8
		f.nbits += n * 8
		f.bits &= 1<<f.nbits - 1
		return p[n:]
	}
	for f.nbits < 56 && len(p) > 0 {
		f.bits |= uint64(p[0]) << f.nbits
		f.nbits += 8
		p = p[1:]
	}
	return p
}

func (f *inflate) take(n uint) uint32 {
	v := uint32(f.bits & (1<<n - 1))
	f.bits >>= n
	f.nbits -= n
	return v
}

// step makes what progress the input allows; more is false when it needs
// further input.
func (f *inflate) step(p []byte, out func([]byte)) (rest []byte, more bool, err error) {
	switch f.state {
	case inflateHeader:
		if f.final {
			f.state = inflateEnd
			return p, true, nil
		}
		if f.nbits < 3 {
			return p, false, nil
		}
		f.final = f.take(1) == 1
		switch f.take(2) {
		case 0:
			f.take(f.nbits % 8)
			f.state = inflateStoredLen
		case 1:
			f.lit, f.dist = &fixedLit, &fixedDist
			f.state = inflateSymbols
		case 2:
			f.state = inflateDynamic
		default:
			return p, false, ErrDeflate
		}
	case inflateStoredLen:
		if f.nbits < 32 {
			return p, false, nil
		}
		n, inv := f.take(16), f.take(16)
		if n != ^inv&0xffff {
			return p, false, ErrDeflate
		}
		f.stored, f.state = int(n), inflateStored
	case inflateStored:
		return f.copyStored(p, out)
	case inflateDynamic:
		if f.nbits < 14 {
			return p, false, nil
		}
		f.nlit, f.ndist, f.nclen = int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
		if f.nlit > 286 || f.ndist > 30 {
			return p, false, ErrDeflate
		}
		clear(f.lengths[:19])
		f.have, f.state = 0, inflateCodeLengths
	case inflateCodeLengths:
		for ; f.have < f.nclen; f.have++ {
			if f.nbits < 3 {
				return p, false, nil
			}
			f.lengths[codeOrder[f.have]] = uint8(f.take(3))
		}
		f.codeLengths = [19]uint8(f.lengths[:19])
		f.clen = &f.tables[2]
		if !f.clen.init(f.codeLengths[:]) {
			return p, false, ErrDeflate
		}
		f.have, f.state = 0, inflateLengths
	case inflateLengths:
		return f.readLengths(p)
	case inflateSymbols:
		return f.symbols(p, out)
	}
	return p, true, nil
}

func (f *inflate) copyStored(p []byte, out func([]byte)) ([]byte, bool, error) {
	for f.stored > 0 {
		if f.pos == len(f.buf) {
			f.slide(out)
		}
		if f.nbits >= 8 {
			f.buf[f.pos] = byte(f.take(8))
			f.pos++
			f.stored--
			continue
		}
		if len(p) == 0 {
			return p, false, nil
		}
		n := copy(f.buf[f.pos:min(len(f.buf), f.pos+f.stored)], p)
		p = p[n:]
		f.pos += n
		f.stored -= n
	}
	f.state = inflateHeader
	return p, true, nil
}

func (f *inflate) readLengths(p []byte) ([]byte, bool, error) {
	for f.have < f.nlit+f.ndist {
		sym, n := f.clen.lookup(f.bits)
		if n == 0 && f.nbits >= maxCode {
			return p, false, ErrDeflate
		}
		var extra uint
		switch sym {
		case 16:
			extra = 2
		case 17:
			extra = 3
		case 18:
			extra = 7
		}
		if n == 0 || n+extra > f.nbits {
			if q := f.fill(p); len(q) < len(p) {
				p = q
				continue
			}
			return p, false, nil
		}
		f.take(n)
		if sym < 16 {
			f.lengths[f.have] = uint8(sym)
			f.have++
			continue
		}
		repeat, value := int(f.take(extra)), uint8(0)
		switch sym {
		case 16:
			if f.have == 0 {
				return p, false, ErrDeflate
			}
			repeat, value = repeat+3, f.lengths[f.have-1]
		case 17:
			repeat += 3
		case 18:
			repeat += 11
		}
		if f.have+repeat > f.nlit+f.ndist {
			return p, false, ErrDeflate
		}
		for range repeat {
			f.lengths[f.have] = value
			f.have++
		}
	}
	if f.lengths[256] == 0 {
		return p, false, ErrDeflate
	}
	f.lit, f.dist = &f.tables[0], &f.tables[1]
	if !f.lit.init(f.lengths[:f.nlit]) || !f.dist.init(f.lengths[f.nlit:f.nlit+f.ndist]) {
		return p, false, ErrDeflate
	}
	f.state = inflateSymbols
	return p, true, nil
}

// symbols decodes literals and matches (RFC 1951, section 3.2.5).
func (f *inflate) symbols(p []byte, out func([]byte)) ([]byte, bool, error) {
	for {
		if f.nbits < 48 { // the longest match: 15+5 and 15+13 bits
			p = f.fill(p)
		}
		sym, n := f.lit.lookup(f.bits)
		if n == 0 || n > f.nbits {
			if n == 0 && f.nbits >= maxCode {
				return p, false, ErrDeflate
			}
			return p, false, nil
		}
		if f.pos+maxMatch > len(f.buf) {
			f.slide(out)
		}
		if sym < 256 {
			f.take(n)
			f.buf[f.pos] = byte(sym)
			f.pos++
			continue
		}
		if sym == 256 {
			f.take(n)
			f.state = inflateHeader
			return p, true, nil
		}
		if sym > 285 {
			return p, false, ErrDeflate
		}
		b, used := f.bits>>n, n
		le := lengthExtra[sym-257]
		length := int(lengthBase[sym-257]) + int(b&(1<<le-1))
		b >>= le
		used += uint(le)
		dsym, dn := f.dist.lookup(b)
		if dn == 0 && f.nbits >= used+maxCode || dn != 0 && dsym > 29 && f.nbits >= used+dn {
			return p, false, ErrDeflate
		}
		if dn == 0 || dsym > 29 {
			return p, false, nil
		}
		b >>= dn
		de := distExtra[dsym]
		used += dn + uint(de)
		if used > f.nbits {
			return p, false, nil
		}
		distance := int(distBase[dsym]) + int(b&(1<<de-1))
		f.bits >>= used
		f.nbits -= used
		if distance > f.pos {
			return p, false, ErrDeflate
		}
		f.match(distance, length)
	}
}

func (f *inflate) match(distance, length int) {
	src := f.pos - distance
	if distance >= length {
		copy(f.buf[f.pos:f.pos+length], f.buf[src:src+length])
		f.pos += length
		return
	}
	for range length {
		f.buf[f.pos] = f.buf[src]
		f.pos++
		src++
	}
}

// slide passes on the output and keeps the last 32 KiB as history.
func (f *inflate) slide(out func([]byte)) {
	f.flush(out)
	n := copy(f.buf[:], f.buf[f.pos-windowSize:f.pos])
	f.pos, f.flushed = n, n
}

func (f *inflate) flush(out func([]byte)) {
	if f.pos > f.flushed {
		f.produced += uint64(f.pos - f.flushed)
		out(f.buf[f.flushed:f.pos])
		f.flushed = f.pos
	}
}

var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
var lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
var distBase = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
var distExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}

const (
	maxCode     = 15 // bits of the longest code
	primaryBits = 10
)

// huffman is a canonical Huffman code: a table for codes of up to 10 bits, and
// the counts by length for the rest.
type huffman struct {
	primary [1 << primaryBits]uint16 // symbol<<4 | length; 0: longer, or no such code
	count   [maxCode + 1]uint16
	symbols [288]uint16 // by code
}

var fixedLit, fixedDist = func() (l, d huffman) {
	var n [288]uint8
	for i := range n {
		switch {
		case i < 144:
			n[i] = 8
		case i < 256:
			n[i] = 9
		case i < 280:
			n[i] = 7
		default:
			n[i] = 8
		}
	}
	l.init(n[:])
	for i := range 30 {
		n[i] = 5
	}
	n[30], n[31] = 5, 5
	d.init(n[:32])
	return l, d
}()

// init builds the tables; it is false when the lengths make no code. A code
// that is not complete is allowed where RFC 1951, section 3.2.7, allows it: no
// symbol, or one of one bit.
func (h *huffman) init(lengths []uint8) bool {
	clear(h.primary[:])
	clear(h.count[:])
	for _, n := range lengths {
		h.count[n]++
	}
	used := len(lengths) - int(h.count[0])
	h.count[0] = 0
	left := 1
	var next, offset [maxCode + 2]uint16
	code := uint16(0)
	for n := 1; n <= maxCode; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return false
		}
		next[n] = code
		code = (code + h.count[n]) << 1
		offset[n+1] = offset[n] + h.count[n]
	}
	if left > 0 && used > 0 && (used > 1 || h.count[1] != 1) {
		return false
	}
	for sym, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[offset[n]] = uint16(sym)
		offset[n]++
		c := next[n]
		next[n]++
		if n > primaryBits {
			continue
		}
		r := bits.Reverse16(c) >> (16 - n)
		for i := int(r); i < len(h.primary); i += 1 << n {
			h.primary[i] = uint16(sym)<<4 | uint16(n)
		}
	}
	return true
}

// lookup finds the code at the low end of b and its length, 0 when there is none.
func (h *huffman) lookup(b uint64) (symbol uint16, n uint) {
	if e := h.primary[b&(1<<primaryBits-1)]; e != 0 {
		return e >> 4, uint(e & 15)
	}
	code, first, index := 0, 0, 0
	for n := uint(1); n <= maxCode; n++ {
		code |= int(b>>(n-1)) & 1
		c := int(h.count[n])
		if code-c < first {
			return h.symbols[index+code-first], n
		}
		index += c
		first = (first + c) << 1
		code <<= 1
	}
	return 0, 0
}
