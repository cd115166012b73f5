package coding

import (
	"errors"
	"io"
	"sync"

	zstdlib "github.com/klauspost/compress/zstd"
)

// MaxZstdWindow is the largest window that is accepted: what RFC 9659, section
// 3, allows in the zstd content coding.
const MaxZstdWindow = 8 << 20

// ErrZstd is damaged Zstandard data.
var ErrZstd = errors.New("damaged zstd data")

// zstd decodes RFC 8878. The library pulls, and an error of its source is
// final, but it touches its state only after it has read a whole block. So the
// framing is followed here, the library sees whole units only (a frame header,
// a block with its header, a checksum), and when it asks for the next unit too
// early, the source leaves by a panic that pull recovers. A Read that returns
// bytes does not ask the source, so no output is lost by that.
type zstd struct {
	in    zstdFeed
	buf   []byte // input that is not consumed
	r     *zstdlib.Decoder
	state zstdState
	sum   bool // the frame ends with a checksum
	size  int  // of the window of the frame
	any   bool
	err   error
}

type zstdState uint8

const (
	zstdFrame zstdState = iota
	zstdBlock
)

// keepInput is how much of an empty input buffer is kept, in bytes.
const keepInput = 16 << 10

type zstdFeed struct {
	b     []byte // input that came
	ready int    // how much of it is whole units
	ended bool
}

type zstdPause struct{}

func (f *zstdFeed) Read(p []byte) (int, error) {
	if f.ready == 0 {
		if f.ended {
			return 0, io.EOF
		}
		panic(zstdPause{})
	}
	n := copy(p, f.b[:f.ready])
	f.b, f.ready = f.b[n:], f.ready-n
	return n, nil
}

var zstdPool = sync.Pool{New: func() any {
	r, err := zstdlib.NewReader(nil, zstdlib.WithDecoderConcurrency(1), zstdlib.WithDecoderLowmem(true),
		zstdlib.WithDecoderMaxWindow(MaxZstdWindow), zstdlib.WithDecoderMaxMemory(1<<62))
	if err != nil {
		panic(err) // the options are constants
	}
	return r
}}

func newZstd() *zstd { return &zstd{} }

func (d *zstd) Write(p []byte, out func([]byte)) error {
	if d.err != nil {
		return d.err
	}
	d.buf = append(d.buf, p...)
	d.in.b = d.buf
	for d.err == nil {
		unit := d.in.b[d.in.ready:]
		n, whole := d.unitLen(unit)
		if d.err != nil || !whole {
			break
		}
		d.in.ready += n
	}
	if d.in.ready > 0 {
		bad := d.err
		d.err = nil
		d.read(out)
		d.err = errors.Join(d.err, bad)
	}
	if left := len(d.in.b); left < len(d.buf) {
		d.buf = append(d.buf[:0], d.in.b...)
		if left == 0 && cap(d.buf) > keepInput {
			d.buf = nil
		}
	}
	d.in.b = nil
	return d.err
}

// unitLen is the length of the next unit, if b holds it whole, and follows the
// framing over it.
func (d *zstd) unitLen(b []byte) (n int, whole bool) {
	switch d.state {
	case zstdFrame:
		return d.frameHeader(b)
	case zstdBlock:
		if len(b) < 3 {
			return 0, false
		}
		h := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		n = 3 + h>>3
		if h>>1&3 == 1 { // RLE
			n = 4
		}
		if last := h&1 == 1; last && d.sum {
			n += 4
		}
		if h>>3 > 128<<10 {
			d.err = ErrZstd
			return 0, false
		}
		if len(b) < n {
			return 0, false
		}
		if h&1 == 1 {
			d.state = zstdFrame
		}
		return n, true
	}
	return 0, false
}

func (d *zstd) frameHeader(b []byte) (n int, whole bool) {
	if len(b) < 5 {
		return 0, false
	}
	magic := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	if magic&^0xf == 0x184d2a50 { // skippable frame
		if len(b) < 8 {
			return 0, false
		}
		n = 8 + int(uint32(b[4])|uint32(b[5])<<8|uint32(b[6])<<16|uint32(b[7])<<24)
		if n > 128<<10 {
			d.err = errors.New("zstd skippable frame of more than 128 KiB")
			return 0, false
		}
		return n, len(b) >= n
	}
	if magic != 0xfd2fb528 {
		if d.err = ErrTrailing; !d.any {
			d.err = ErrFormat
		}
		return 0, false
	}
	fhd := b[4]
	single := fhd&0x20 != 0
	n = 5
	if !single {
		n++
	}
	n += [4]int{0, 1, 2, 4}[fhd&3]
	switch fcs := fhd >> 6; {
	case fcs > 0:
		n += 1 << fcs
	case single:
		n++
	}
	if len(b) < n {
		return 0, false
	}
	d.any, d.sum, d.state, d.size = true, fhd&4 != 0, zstdBlock, zstdWindow(b[:n])
	return n, true
}

// Window is that of the frame: the library takes it at once.
func (d *zstd) Window() int {
	if d.state == zstdFrame {
		return 0
	}
	return d.size
}

// zstdWindow is the size of the window that a frame header asks for (RFC 8878,
// section 3.1.1.1.2), at most MaxZstdWindow: larger ones are refused.
func zstdWindow(h []byte) int {
	size := uint64(0)
	if h[4]&0x20 == 0 {
		exponent, mantissa := h[5]>>3, uint64(h[5]&7)
		base := uint64(1) << (10 + exponent)
		size = base + base/8*mantissa
	} else { // a single segment: its content size, which is the last field
		for i, n := 0, max(1, 1<<(h[4]>>6)&^1); i < n; i++ {
			size |= uint64(h[len(h)-n+i]) << (8 * i)
		}
		if h[4]>>6 == 1 {
			size += 256
		}
	}
	return int(min(size, MaxZstdWindow))
}

func (d *zstd) read(out func([]byte)) {
	if d.r == nil {
		d.r = zstdPool.Get().(*zstdlib.Decoder)
		if d.err = d.r.Reset(&d.in); d.err != nil {
			return
		}
	}
	buf := outputPool.Get().(*[outputSize]byte)
	defer outputPool.Put(buf)
	for {
		n, paused, err := d.pull(buf[:])
		if n > 0 {
			out(buf[:n])
		}
		switch {
		case paused, err == io.EOF:
			return
		case err != nil:
			d.err = err
			return
		}
	}
}

// pull reads from the library, which may leave by a pause.
func (d *zstd) pull(p []byte) (n int, paused bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(zstdPause); !ok {
				panic(v)
			}
			paused = true
		}
	}()
	n, err = d.r.Read(p)
	return n, false, err
}

func (d *zstd) Close(func([]byte)) error {
	if d.err == nil && (!d.any || d.state != zstdFrame || len(d.buf) > 0) {
		d.err = ErrTruncated
	}
	if d.r != nil {
		if d.r.Reset(nil) == nil {
			zstdPool.Put(d.r)
		}
		d.r = nil
	}
	return d.err
}
