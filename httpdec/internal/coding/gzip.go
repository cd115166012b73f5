package coding

import (
	"errors"
	"hash/adler32"
	"hash/crc32"
)

// ErrFormat is a body that does not begin as its coding does.
var ErrFormat = errors.New("body is not in the coding that Content-Encoding names")

// ErrChecksum is a body that decoded to other bytes than were encoded.
var ErrChecksum = errors.New("checksum of the decoded body is wrong")

// gzip decodes RFC 1952, several members in a row too.
type gzip struct {
	state   gzipState
	head    []byte // of the header or trailer while incomplete
	f       *inflate
	crc     uint32
	size    uint32
	members int
	err     error
}

type gzipState uint8

const (
	gzipHeader gzipState = iota
	gzipData
	gzipTrailer
)

const maxGzipHeader = 64 << 10

func newGzip() *gzip { return &gzip{} }

func (g *gzip) Write(p []byte, out func([]byte)) error {
	for g.err == nil && len(p) > 0 {
		switch g.state {
		case gzipHeader:
			g.head = append(g.head, p...)
			n, err := gzipHeaderLen(g.head)
			switch {
			case err != nil && g.members > 0:
				g.err = ErrTrailing
			case err != nil:
				g.err = err
			case n == 0 && len(g.head) > maxGzipHeader:
				g.err = ErrFormat
			case n == 0:
				return nil
			default:
				p = g.head[n:]
				g.head, g.state, g.f, g.crc, g.size = nil, gzipData, newInflate(), 0, 0
			}
		case gzipData:
			rest, done, err := g.f.write(p, func(b []byte) {
				g.crc = crc32.Update(g.crc, crc32.IEEETable, b)
				g.size += uint32(len(b))
				out(b)
			})
			if done || err != nil {
				g.release()
			}
			if g.err = err; done {
				g.state = gzipTrailer
			}
			p = rest
		case gzipTrailer:
			n := min(8-len(g.head), len(p))
			g.head, p = append(g.head, p[:n]...), p[n:]
			if len(g.head) < 8 {
				break
			}
			le := func(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24 }
			if le(g.head) != g.crc || le(g.head[4:]) != g.size {
				g.err = ErrChecksum
			}
			g.head, g.state = g.head[:0], gzipHeader
			g.members++
		}
	}
	return g.err
}

func (g *gzip) release() {
	if g.f != nil {
		g.f.release()
		g.f = nil
	}
}

func (g *gzip) Close(func([]byte)) error {
	g.release()
	if g.err == nil && (g.state != gzipHeader || g.members == 0 || len(g.head) > 0) {
		g.err = ErrTruncated
	}
	return g.err
}

// gzipHeaderLen is the length of a member's header, 0 when b holds only a part.
func gzipHeaderLen(b []byte) (int, error) {
	for i, c := range []byte{0x1f, 0x8b, 8} {
		if i < len(b) && b[i] != c {
			return 0, ErrFormat
		}
	}
	if len(b) < 10 {
		return 0, nil
	}
	flags, n := b[3], 10
	if flags&0xe0 != 0 {
		return 0, ErrFormat
	}
	if flags&4 != 0 { // FEXTRA
		if len(b) < n+2 {
			return 0, nil
		}
		n += 2 + int(b[n]) + int(b[n+1])<<8
	}
	for _, f := range []byte{8, 16} { // FNAME, FCOMMENT
		if flags&f == 0 {
			continue
		}
		for ; ; n++ {
			if n >= len(b) {
				return 0, nil
			}
			if b[n] == 0 {
				n++
				break
			}
		}
	}
	if flags&2 != 0 { // FHCRC
		n += 2
	}
	if n > len(b) {
		return 0, nil
	}
	return n, nil
}

// deflate decodes the "deflate" coding: zlib (RFC 1950) as specified, or the
// bare DEFLATE data that some servers send, told apart by the first two bytes.
type deflate struct {
	head    []byte
	started bool
	zlib    bool
	done    bool
	f       *inflate
	sum     hashAdler
	tail    []byte
	err     error
}

type hashAdler interface {
	Write([]byte) (int, error)
	Sum32() uint32
}

func newDeflate() *deflate { return &deflate{} }

func (d *deflate) Write(p []byte, out func([]byte)) error {
	if d.err != nil {
		return d.err
	}
	if !d.started {
		d.head = append(d.head, p...)
		if len(d.head) < 2 {
			return nil
		}
		p = d.head
		if p[0]&15 == 8 && p[0]>>4 <= 7 && (uint(p[0])<<8|uint(p[1]))%31 == 0 {
			if p[1]&0x20 != 0 {
				d.err = errors.New("deflate with a preset dictionary")
				return d.err
			}
			d.zlib, p = true, p[2:]
			d.sum = adler32.New()
		}
		d.started, d.head, d.f = true, nil, newInflate()
	}
	if !d.done {
		rest, done, err := d.f.write(p, func(b []byte) {
			if d.zlib {
				d.sum.Write(b)
			}
			out(b)
		})
		if d.done, d.err = done, err; done || err != nil {
			d.release()
		}
		p = rest
	}
	if d.done && d.err == nil {
		d.trailer(p)
	}
	return d.err
}

func (d *deflate) trailer(p []byte) {
	if !d.zlib {
		if len(p) > 0 {
			d.err = ErrTrailing
		}
		return
	}
	was := len(d.tail)
	d.tail = append(d.tail, p[:min(len(p), 5-was)]...)
	if t := d.tail; len(t) >= 4 {
		sum := uint32(t[0])<<24 | uint32(t[1])<<16 | uint32(t[2])<<8 | uint32(t[3])
		if sum != d.sum.Sum32() {
			d.err = ErrChecksum
		} else if len(t) > 4 {
			d.err = ErrTrailing
		}
	}
}

func (d *deflate) release() {
	if d.f != nil {
		d.f.release()
		d.f = nil
	}
}

func (d *deflate) Close(func([]byte)) error {
	d.release()
	if d.err == nil && (!d.done || d.zlib && len(d.tail) < 4) {
		d.err = ErrTruncated
	}
	return d.err
}
