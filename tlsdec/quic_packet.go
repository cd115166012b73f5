package tlsdec

import "encoding/binary"

// QUIC versions (RFC 9000, RFC 9369).
const (
	quicVersion1       uint32 = 1
	quicVersion2       uint32 = 0x6b3343cf
	quicVersionDraft29 uint32 = 0xff00001d
	maxConnectionID           = 20 // bytes, in every version known here
)

// quicLongHeader is the part of a long header packet in front of its packet
// number (RFC 9000, section 17.2).
type quicLongHeader struct {
	version     uint32
	initial     bool
	destination []byte // connection id
	number      int    // offset of the protected packet number
	end         int    // offset behind the packet: others may follow in the datagram
}

// parseQUICLongHeader reads the header in front of b. Packets of a type or version
// without Length end with the datagram.
func parseQUICLongHeader(b []byte) (h quicLongHeader, err error) {
	if len(b) < 7 {
		return h, errMore
	}
	if b[0]&0xc0 != 0xc0 {
		return h, errRecord
	}
	h.version, h.end = binary.BigEndian.Uint32(b[1:]), len(b)
	rest := b[5:]
	var ok bool
	if h.destination, rest, ok = cutConnectionID(rest); !ok {
		return h, errRecord
	}
	if _, rest, ok = cutConnectionID(rest); !ok {
		return h, errRecord
	}
	typ := b[0] >> 4 & 3
	if h.version == quicVersion2 {
		typ = (typ - 1) & 3 // Initial is 1, Retry 0 (RFC 9369, section 3.2)
	}
	const initial, retry = 0, 3
	if typ == retry || h.version == 0 {
		return h, nil
	}
	if h.initial = typ == initial; h.initial {
		token, n := quicVarint(rest)
		if n == 0 || token > uint64(len(rest)-n) {
			return h, errRecord
		}
		rest = rest[n+int(token):]
	}
	length, n := quicVarint(rest)
	if n == 0 || length > uint64(len(rest)-n) {
		return h, errRecord
	}
	h.number = len(b) - len(rest) + n
	h.end = h.number + int(length)
	return h, nil
}

func cutConnectionID(b []byte) (id, rest []byte, ok bool) {
	if len(b) < 1 || int(b[0]) > maxConnectionID || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// quicVarint reads a variable-length integer (RFC 9000, section 16); n is 0 if b is too short.
func quicVarint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, x := range b[1:n] {
		v = v<<8 | uint64(x)
	}
	return v, n
}
