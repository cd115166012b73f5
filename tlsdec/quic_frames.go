package tlsdec

import "encoding/binary"

// Frame types (RFC 9000, section 19; RFC 9221; the others are of drafts in wide use).
const (
	frameResetStream     = 0x04
	frameCrypto          = 0x06
	frameStream          = 0x08 // to 0x0f: 1 FIN, 2 Length, 4 Offset
	frameNewConnectionID = 0x18
	frameClose           = 0x1c
	frameCloseApp        = 0x1d
)

// quicFrame is a frame that says something to who looks on; the others only
// matter to the peers.
type quicFrame struct {
	typ    uint64 // one of the constants
	stream uint64
	offset uint64
	fin    bool
	data   []byte // of CRYPTO and STREAM, the new connection id, the reason phrase
	code   uint64 // of an error
	size   uint64 // final size, of RESET_STREAM
}

// quicFrames reads the frames of a packet until each returns false or something
// follows that it does not know.
func quicFrames(b []byte, each func(quicFrame) bool) {
	ok := true
	integer := func() uint64 {
		v, n := quicVarint(b)
		if n == 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	bytes := func(n uint64) []byte {
		if !ok || n > uint64(len(b)) {
			ok = false
			return nil
		}
		v := b[:n:n]
		b = b[n:]
		return v
	}
	skip := func(integers int) {
		for range integers {
			integer()
		}
	}
	for ok && len(b) > 0 {
		if b[0] == 0 { // PADDING, mostly in numbers
			b = b[1:]
			continue
		}
		f := quicFrame{typ: integer()}
		tell := false
		switch f.typ {
		case 0x01, 0x1e, 0x1f: // PING, HANDSHAKE_DONE, IMMEDIATE_ACK
		case 0x02, 0x03: // ACK
			skip(2)
			ranges := integer()
			integer()
			if ranges > uint64(len(b)) {
				return
			}
			skip(2 * int(ranges))
			if f.typ == 0x03 {
				skip(3)
			}
		case frameResetStream, 0x24: // RESET_STREAM_AT has one more
			at := f.typ != frameResetStream
			f.typ, tell = frameResetStream, true
			f.stream, f.code, f.size = integer(), integer(), integer()
			if at {
				integer()
			}
		case 0x05: // STOP_SENDING
			skip(2)
		case frameCrypto:
			f.offset = integer()
			f.data, tell = bytes(integer()), true
		case 0x07: // NEW_TOKEN
			bytes(integer())
		case 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f:
			f.stream, f.fin, tell = integer(), f.typ&1 != 0, true
			if f.typ&4 != 0 {
				f.offset = integer()
			}
			if f.typ&2 != 0 {
				f.data = bytes(integer())
			} else {
				f.data = bytes(uint64(len(b)))
			}
			f.typ = frameStream
		case 0x10, 0x12, 0x13, 0x14, 0x16, 0x17, 0x19: // MAX_DATA, MAX_STREAMS, …BLOCKED, RETIRE_CONNECTION_ID
			integer()
		case 0x11, 0x15: // MAX_STREAM_DATA, STREAM_DATA_BLOCKED
			skip(2)
		case frameNewConnectionID:
			skip(2)
			if n := bytes(1); ok {
				f.data, tell = bytes(uint64(n[0])), true
			}
			bytes(16)
		case 0x1a, 0x1b: // PATH_CHALLENGE, PATH_RESPONSE
			bytes(8)
		case frameClose, frameCloseApp:
			f.code, tell = integer(), true
			if f.typ == frameClose {
				integer()
			}
			f.data = bytes(integer())
		case 0x30: // DATAGRAM
			return
		case 0x31:
			bytes(integer())
		case 0xaf: // ACK_FREQUENCY
			skip(4)
		default:
			return
		}
		if ok && tell && !each(f) {
			return
		}
	}
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
	switch n {
	case 1:
		return uint64(b[0]), 1
	case 2:
		return uint64(binary.BigEndian.Uint16(b)) & (1<<14 - 1), 2
	case 4:
		return uint64(binary.BigEndian.Uint32(b)) & (1<<30 - 1), 4
	}
	return binary.BigEndian.Uint64(b) & (1<<62 - 1), 8
}
