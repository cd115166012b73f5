package coding

import "errors"

// ErrLZW is damaged "compress" data.
var ErrLZW = errors.New("damaged compress data")

// lzw decodes the compress coding (RFC 9110, section 8.4.1.1): the format of
// Unix compress, adaptive LZW with codes of 9 to 16 bits, the lowest bit first.
type lzw struct {
	head    []byte
	max     uint // bits of the longest code
	block   bool // code 256 clears the table
	width   uint
	bits    uint64
	nbits   uint
	codes   int  // read since the width changed: they come in groups of 8
	skip    uint // bits of padding of the last group
	next    int
	prev    int // -1 at the start
	first   byte
	prefix  []uint16
	suffix  []byte
	stack   []byte
	err     error
	started bool
}

const lzwClear = 256

func (z *lzw) Write(p []byte, out func([]byte)) error {
	for !z.started && len(p) > 0 && z.err == nil {
		z.head, p = append(z.head, p[0]), p[1:]
		switch {
		case z.badHead():
			z.err = ErrFormat
		case len(z.head) == 3:
			z.start()
		}
	}
	if z.err != nil || !z.started {
		return z.err
	}
	buf := make([]byte, 0, 4096)
	for _, c := range p {
		z.bits |= uint64(c) << z.nbits
		z.nbits += 8
		for z.err == nil {
			if z.skip > 0 {
				n := min(z.skip, z.nbits)
				z.take(n)
				if z.skip -= n; z.skip > 0 {
					break
				}
			}
			if z.nbits < z.width {
				break
			}
			buf = z.code(int(z.take(z.width)), buf)
		}
		if len(buf) > outputSize {
			out(buf)
			buf = buf[:0]
		}
	}
	if len(buf) > 0 {
		out(buf)
	}
	return z.err
}

// badHead reports whether the first bytes are not those of compress.
func (z *lzw) badHead() bool {
	n := len(z.head)
	return z.head[0] != 0x1f || n > 1 && z.head[1] != 0x9d || n > 2 && (z.head[2]&0x60 != 0 || z.head[2]&31 < 9 || z.head[2]&31 > 16)
}

func (z *lzw) start() {
	z.max, z.block, z.started = uint(z.head[2]&31), z.head[2]&0x80 != 0, true
	z.prefix, z.suffix = make([]uint16, 1<<z.max), make([]byte, 1<<z.max)
	for i := range 256 {
		z.suffix[i] = byte(i)
	}
	z.clear()
}

func (z *lzw) clear() {
	z.width, z.prev, z.next = 9, -1, 256
	if z.block {
		z.next = 257
	}
}

func (z *lzw) take(n uint) uint64 {
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.nbits -= n
	return v
}

// regroup skips to the end of the group of 8 codes, as compress does when the
// width changes.
func (z *lzw) regroup() {
	if r := z.codes % 8; r != 0 {
		z.skip = uint(8-r) * z.width
	}
	z.codes = 0
}

func (z *lzw) code(c int, out []byte) []byte {
	z.codes++
	if z.block && c == lzwClear {
		z.regroup()
		z.clear()
		return out
	}
	if z.prev < 0 {
		if c > 255 {
			z.err = ErrLZW
			return out
		}
		z.prev, z.first = c, byte(c)
		return append(out, byte(c))
	}
	if c > z.next || c == z.next && z.next >= 1<<z.max {
		z.err = ErrLZW
		return out
	}
	at := c
	z.stack = z.stack[:0]
	if c == z.next { // the string is the last one and its own first byte
		z.stack = append(z.stack, z.first)
		at = z.prev
	}
	for at > 255 {
		z.stack = append(z.stack, z.suffix[at])
		at = int(z.prefix[at])
	}
	z.first = byte(at)
	out = append(out, z.first)
	for i := len(z.stack) - 1; i >= 0; i-- {
		out = append(out, z.stack[i])
	}
	if z.next < 1<<z.max {
		z.prefix[z.next], z.suffix[z.next] = uint16(z.prev), z.first
		z.next++
		if z.next == 1<<z.width && z.width < z.max {
			z.regroup()
			z.width++
		}
	}
	z.prev = c
	return out
}

func (z *lzw) Close(func([]byte)) error {
	if z.err == nil && !z.started {
		z.err = ErrTruncated
	}
	return z.err
}
