package tlsdec

import "encoding/binary"

// QUIC versions (RFC 9000, RFC 9369).
const (
	quicVersion1       uint32 = 1
	quicVersion2       uint32 = 0x6b3343cf
	quicVersionDraft29 uint32 = 0xff00001d
	maxConnectionID           = 20 // bytes, in every version known here
)

// quicType is the type of a packet, in the numbers of version 1 (RFC 9000, section 17.2).
type quicType uint8

const (
	quicInitial quicType = iota
	quicZeroRTT
	quicHandshake
	quicRetry
	quicShort   // 1-RTT: its header has another form
	quicUnknown // Version Negotiation, or of a version that is not known
)

// epoch is whose keys protect packets of the type.
func (t quicType) epoch() epoch {
	return [...]epoch{quicInitial: epochPlain, quicZeroRTT: epochEarly, quicHandshake: epochHandshake, quicRetry: epochPlain, quicShort: epochTraffic, quicUnknown: epochPlain}[t]
}

// quicHeader is the part of a packet in front of its packet number.
type quicHeader struct {
	typ         quicType
	version     uint32 // of a long header
	destination []byte // connection id
	source      []byte // connection id, of a long header
	number      int    // offset of the protected packet number; 0: the packet has none
	end         int    // offset behind the packet: others may follow in the datagram
}

// parseQUICLongHeader reads the long header in front of b (RFC 9000, section
// 17.2), whatever its Fixed Bit is (RFC 9287). Packets of a type or version without
// Length end with the datagram.
func parseQUICLongHeader(b []byte) (h quicHeader, err error) {
	if len(b) < 7 {
		return h, errMore
	}
	if b[0]&0x80 == 0 {
		return h, errRecord
	}
	h.typ, h.version, h.end = quicUnknown, binary.BigEndian.Uint32(b[1:]), len(b)
	rest := b[5:]
	var ok bool
	if h.destination, rest, ok = cutConnectionID(rest); !ok {
		return h, errRecord
	}
	if h.source, rest, ok = cutConnectionID(rest); !ok {
		return h, errRecord
	}
	if h.version == 0 {
		return h, nil
	}
	h.typ = quicType(b[0] >> 4 & 3)
	if h.version == quicVersion2 {
		h.typ = (h.typ - 1) & 3 // Initial is 1, Retry 0 (RFC 9369, section 3.2)
	}
	if h.typ == quicRetry {
		return h, nil
	}
	if h.typ == quicInitial {
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
