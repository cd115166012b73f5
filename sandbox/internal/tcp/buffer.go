package tcp

// Headroom is what stands free in front of the payload of a new Buffer: the
// link's, the IP and the TCP header of a segment without options.
const Headroom = 96

// MaxPayload is the most that a Buffer holds: with the headers of IPv4 and TCP it
// is an IP packet of 65,535 bytes.
const MaxPayload = 65535 - 20 - HeaderLen

// Buffer holds the payload of a segment until it is acknowledged, with room for
// the headers in front of it.
type Buffer struct {
	b          []byte
	start, end int
}

// Bytes is the payload.
func (b *Buffer) Bytes() []byte { return b.b[b.start:b.end] }

// Len is the length of the payload.
func (b *Buffer) Len() int { return b.end - b.start }

// Room is where a payload can be put, of up to MaxPayload bytes; Fill says how
// much it was.
func (b *Buffer) Room() []byte { return b.b[Headroom:] }

// Fill makes the first n bytes of Room the payload.
func (b *Buffer) Fill(n int) { b.start, b.end = Headroom, Headroom+n }

// WithHeader is the n bytes in front of the payload and the payload, n up to
// Headroom. They are free: what was acknowledged of the payload is not needed
// any more.
func (b *Buffer) WithHeader(n int) []byte { return b.b[b.start-n : b.end] }

// classes are the sizes of buffers: most payloads are small, and thousands of
// connections may hold one each.
var classes = [...]int{1 << 10, 8 << 10, MaxPayload}

// keep is how many free buffers of each class are kept.
var keep = [...]int{1024, 128, 16}

// Pool gives out buffers. It is not safe for concurrent use.
type Pool struct {
	free [len(classes)][]*Buffer
	used int // bytes that are given out
}

// Get returns a buffer with room for n bytes, at most MaxPayload.
func (p *Pool) Get(n int) *Buffer {
	c := 0
	for n > classes[c] {
		c++
	}
	p.used += classes[c]
	if k := len(p.free[c]); k > 0 {
		b := p.free[c][k-1]
		p.free[c] = p.free[c][:k-1]
		return b
	}
	return &Buffer{b: make([]byte, Headroom+classes[c])}
}

// Put takes a buffer back.
func (p *Pool) Put(b *Buffer) {
	for c, size := range classes {
		if len(b.b) == Headroom+size {
			p.used -= size
			if len(p.free[c]) < keep[c] {
				p.free[c] = append(p.free[c], b)
			}
		}
	}
}

// Used is how many bytes of buffers are given out.
func (p *Pool) Used() int { return p.used }

// Fit returns a buffer that holds b's payload and wastes little: b itself, or a
// smaller one; b then stays with the caller.
func (p *Pool) Fit(b *Buffer) *Buffer {
	n := b.Len()
	if n > classes[len(classes)-2] {
		return b
	}
	small := p.Get(n)
	copy(small.Room(), b.Bytes())
	small.Fill(n)
	return small
}
