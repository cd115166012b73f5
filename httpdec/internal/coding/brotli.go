package coding

import (
	"errors"
	"io"
	"math/bits"
	"sync"

	brotlilib "github.com/andybalholm/brotli"
)

// errNeedInput is what a feed answers when it is empty: the decoder above it
// must be called again when there is more.
var errNeedInput = errors.New("need input")

// feed is the input of a decoder that pulls.
type feed struct {
	b     []byte
	ended bool
}

func (f *feed) Read(p []byte) (int, error) {
	if len(f.b) == 0 {
		if f.ended {
			return 0, io.EOF
		}
		return 0, errNeedInput
	}
	n := copy(p, f.b)
	f.b = f.b[n:]
	return n, nil
}

// brotli decodes RFC 7932. The library's Reader keeps its state when its source
// fails, so an empty source is no more than a pause. It needs the window that the
// encoder chose: 16 MiB at most.
type brotli struct {
	in   feed
	r    *brotlilib.Reader
	any  bool
	done bool
	err  error

	declared int // the window, in bytes
	decoded  int
}

// Window grows with what was decoded, as the library's buffer does.
func (d *brotli) Window() int {
	if d.done || d.decoded == 0 {
		return 0
	}
	return min(d.declared, 1<<bits.Len(uint(d.decoded-1)))
}

// brotliWindow reads WBITS (RFC 7932, section 9.1).
func brotliWindow(b byte) int {
	switch n, more := b>>1&7, b>>4&7; {
	case b&1 == 0:
		return 1 << 16
	case n != 0:
		return 1 << (17 + n)
	case more == 0:
		return 1 << 17
	default:
		return 1 << (8 + more)
	}
}

// excessiveInput is the library's word for bytes behind the end. It says so, too,
// when the last bytes came singly and none is left over, so that here it only
// means the end.
const excessiveInput = "brotli: excessive input"

var brotliPool = sync.Pool{New: func() any { return new(brotlilib.Reader) }}

func newBrotli() *brotli { return &brotli{} }

func (d *brotli) Write(p []byte, out func([]byte)) error {
	if d.err != nil || len(p) == 0 {
		return d.err
	}
	if d.done {
		d.err = ErrTrailing
		return d.err
	}
	if d.r == nil {
		d.declared = brotliWindow(p[0])
		d.r = brotliPool.Get().(*brotlilib.Reader)
		d.r.Reset(&d.in)
	}
	d.in.b = p
	d.read(out)
	return d.err
}

func (d *brotli) read(out func([]byte)) {
	buf := outputPool.Get().(*[outputSize]byte)
	defer outputPool.Put(buf)
	for {
		n, err := d.r.Read(buf[:])
		if n > 0 {
			d.any = true
			d.decoded = min(d.decoded+n, d.declared)
			out(buf[:n])
		}
		switch {
		case err == errNeedInput, err == io.EOF:
			return
		case err == io.ErrUnexpectedEOF:
			d.err = ErrTruncated
			return
		case err != nil && err.Error() == excessiveInput:
			d.done = true
			return
		case err != nil:
			if d.err = err; !d.any {
				d.err = ErrFormat
			}
			return
		}
	}
}

func (d *brotli) Close(out func([]byte)) error {
	if d.r == nil {
		return ErrTruncated
	}
	if d.in.ended = true; d.err == nil {
		d.read(out)
	}
	brotliPool.Put(d.r)
	d.r = nil
	return d.err
}

const outputSize = 32 << 10

var outputPool = sync.Pool{New: func() any { return new([outputSize]byte) }}
