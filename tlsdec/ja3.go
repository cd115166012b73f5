package tlsdec

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
)

// grease reports whether v is one of the values of RFC 8701.
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// ja3 is the JA3 fingerprint of a ClientHello: the MD5 of its version, suites,
// extensions, groups and point formats in decimal, without GREASE.
func ja3(h *clientHello) string {
	b := strconv.AppendUint(nil, uint64(h.version), 10)
	list := func(values []uint16) {
		b = append(b, ',')
		n := len(b)
		for _, v := range values {
			if grease(v) {
				continue
			}
			if len(b) > n {
				b = append(b, '-')
			}
			b = strconv.AppendUint(b, uint64(v), 10)
		}
	}
	formats := make([]uint16, len(h.pointFormats))
	for i, f := range h.pointFormats {
		formats[i] = uint16(f)
	}
	list(h.suites)
	list(h.extensions)
	list(h.groups)
	list(formats)
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}
