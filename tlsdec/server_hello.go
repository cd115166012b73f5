package tlsdec

import "golang.org/x/crypto/cryptobyte"

// serverHello holds what a ServerHello or HelloRetryRequest says (RFC 8446,
// sections 4.1.3 and 4.1.4).
type serverHello struct {
	version        uint16 // negotiated: supported_versions if there
	random         [32]byte
	sessionID      []byte
	suite          uint16
	compression    uint8
	group          uint16 // of key_share; 0 if none
	alpn           string // before TLS 1.3
	retry          bool   // it is a HelloRetryRequest
	preSharedKey   bool
	encryptThenMAC bool
	extendedMaster bool
}

// helloRetryRandom marks a HelloRetryRequest: SHA-256 of "HelloRetryRequest".
var helloRetryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

func parseServerHello(body []byte) (*serverHello, error) {
	s := cryptobyte.String(body)
	h := new(serverHello)
	var sessionID cryptobyte.String
	if !s.ReadUint16(&h.version) || !s.CopyBytes(h.random[:]) {
		return nil, errHandshake
	}
	if h.version>>8 == 0x7f && h.version < 0x7f16 {
		// Drafts before 22 had neither session id nor compression.
		if !s.ReadUint16(&h.suite) {
			return nil, errHandshake
		}
	} else if !s.ReadUint8LengthPrefixed(&sessionID) || !s.ReadUint16(&h.suite) || !s.ReadUint8(&h.compression) {
		return nil, errHandshake
	}
	h.sessionID = append([]byte(nil), sessionID...)
	h.retry = h.random == helloRetryRandom
	if s.Empty() {
		return h, nil
	}
	var exts cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&exts) {
		return nil, errHandshake
	}
	for !exts.Empty() {
		var typ uint16
		var data cryptobyte.String
		if !exts.ReadUint16(&typ) || !exts.ReadUint16LengthPrefixed(&data) {
			return nil, errHandshake
		}
		switch typ {
		case extSupportedVersions:
			data.ReadUint16(&h.version)
		case extKeyShare, extKeyShareDraft:
			data.ReadUint16(&h.group)
		case extPreSharedKey:
			h.preSharedKey = true
		case extALPN:
			if names := parseALPN(data); len(names) > 0 {
				h.alpn = names[0]
			}
		case extEncryptThenMAC:
			h.encryptThenMAC = true
		case extExtendedMasterSecret:
			h.extendedMaster = true
		}
	}
	return h, nil
}
