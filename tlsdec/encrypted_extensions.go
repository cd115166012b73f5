package tlsdec

import "golang.org/x/crypto/cryptobyte"

// encryptedExtensions is what the server negotiates under encryption (RFC 8446, section 4.3.1).
type encryptedExtensions struct {
	alpn      string
	earlyData bool // 0-RTT accepted
}

func parseEncryptedExtensions(body []byte) (e encryptedExtensions, err error) {
	s := cryptobyte.String(body)
	var exts cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&exts) {
		return e, errHandshake
	}
	for !exts.Empty() {
		var typ uint16
		var data cryptobyte.String
		if !exts.ReadUint16(&typ) || !exts.ReadUint16LengthPrefixed(&data) {
			return e, errHandshake
		}
		switch typ {
		case extALPN:
			if names := parseALPN(data); len(names) > 0 {
				e.alpn = names[0]
			}
		case extEarlyData:
			e.earlyData = true
		}
	}
	return e, nil
}
