// Package websocket reads WebSocket frames (RFC 6455, section 5) as bytes arrive.
package websocket

import "encoding/binary"

// Opcodes (RFC 6455, section 5.2).
const (
	Continuation = 0
	Text         = 1
	Binary       = 2
	Close        = 8
	Ping         = 9
	Pong         = 10
)

// MaxHeader is the length of the longest frame header in bytes.
const MaxHeader = 14

// Header is a frame header.
type Header struct {
	Fin    bool
	RSV    byte // RSV1 is 4, RSV2 is 2, RSV3 is 1
	Opcode int
	Masked bool
	Key    [4]byte
	Length uint64
}

// ParseHeader reads a header from the front of b; n is its length, 0 when b does
// not hold all of it.
func ParseHeader(b []byte) (h Header, n int) {
	if len(b) < 2 {
		return h, 0
	}
	h.Fin, h.RSV, h.Opcode = b[0]&0x80 != 0, b[0]>>4&7, int(b[0]&15)
	h.Masked, h.Length = b[1]&0x80 != 0, uint64(b[1]&0x7f)
	n = 2
	switch h.Length {
	case 126:
		if len(b) < 4 {
			return h, 0
		}
		h.Length, n = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return h, 0
		}
		h.Length, n = binary.BigEndian.Uint64(b[2:]), 10
	}
	if h.Masked {
		if len(b) < n+4 {
			return h, 0
		}
		copy(h.Key[:], b[n:])
		n += 4
	}
	return h, n
}

// Unmask undoes the masking of p, which begins at offset of the payload, into dst.
func (h *Header) Unmask(dst, p []byte, offset uint64) {
	for i, c := range p {
		dst[i] = c ^ h.Key[(offset+uint64(i))&3]
	}
}

// IsControl reports whether the frame is a control frame.
func (h *Header) IsControl() bool { return h.Opcode >= 8 }
