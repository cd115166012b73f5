package tlsdec

import (
	"encoding/binary"
	"errors"
)

// contentType is the type of a record (RFC 8446, section 5.1).
type contentType uint8

const (
	typeChangeCipherSpec contentType = 20
	typeAlert            contentType = 21
	typeHandshake        contentType = 22
	typeApplicationData  contentType = 23
	typeHeartbeat        contentType = 24 // RFC 6520
)

const (
	recordHeaderLen = 5
	maxPlaintext    = 1 << 14
	// maxFragment is the longest fragment of any version: that of TLS 1.2
	// (RFC 5246, section 6.2.3).
	maxFragment = maxPlaintext + 2048
)

// Protocol versions as they stand in records and hellos.
const (
	versionSSL2  uint16 = 0x0002
	versionSSL3  uint16 = 0x0300
	versionTLS10 uint16 = 0x0301
	versionTLS11 uint16 = 0x0302
	versionTLS12 uint16 = 0x0303
	versionTLS13 uint16 = 0x0304
)

var (
	// errMore means that the input is a proper prefix of something valid.
	errMore = errors.New("tlsdec: need more bytes")
	// errRecord is a header that no TLS implementation sends.
	errRecord = errors.New("tlsdec: not a TLS record")
)

// recordHeader is the header of a TLSPlaintext or TLSCiphertext.
type recordHeader struct {
	typ     contentType
	version uint16
	length  int // of the fragment
}

// parseRecordHeader reads the header in front of b and returns it with the
// bytes it took. It rejects as soon as a byte is wrong.
func parseRecordHeader(b []byte) (h recordHeader, n int, err error) {
	if len(b) > 0 && (b[0] < byte(typeChangeCipherSpec) || b[0] > byte(typeHeartbeat)) {
		return h, 0, errRecord
	}
	if len(b) > 1 && b[1] != 3 && b[1] != 0x7f { // 0x7f: drafts of TLS 1.3
		return h, 0, errRecord
	}
	if len(b) > 3 && int(b[3]) > maxFragment>>8 {
		return h, 0, errRecord
	}
	if len(b) < recordHeaderLen {
		return h, 0, errMore
	}
	h = recordHeader{typ: contentType(b[0]), version: binary.BigEndian.Uint16(b[1:]), length: int(binary.BigEndian.Uint16(b[3:]))}
	if h.length > maxFragment {
		return h, 0, errRecord
	}
	return h, recordHeaderLen, nil
}
