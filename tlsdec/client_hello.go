package tlsdec

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// errHandshake is a handshake message that does not parse.
var errHandshake = errors.New("tlsdec: malformed handshake message")

// clientHello holds what a ClientHello says (RFC 8446, section 4.1.2). It does
// not alias the message.
type clientHello struct {
	version       uint16 // legacy_version
	random        [32]byte
	sessionID     []byte
	suites        []uint16
	extensions    []uint16 // types, in order
	serverName    string
	alpn          []string
	groups        []uint16
	pointFormats  []byte
	signatures    []uint16
	versions      []uint16 // supported_versions
	earlyData     bool
	ech           bool // encrypted_client_hello, real or GREASE
	hasServerName bool
}

// offers13 reports whether TLS 1.3 or a draft of it is offered.
func (h *clientHello) offers13() bool {
	for _, v := range h.versions {
		if v == versionTLS13 || v>>8 == 0x7f {
			return true
		}
	}
	return false
}

func parseClientHello(body []byte) (*clientHello, error) {
	s := cryptobyte.String(body)
	h := new(clientHello)
	var sessionID, suites, compression cryptobyte.String
	if !s.ReadUint16(&h.version) || !s.CopyBytes(h.random[:]) || !s.ReadUint8LengthPrefixed(&sessionID) ||
		!s.ReadUint16LengthPrefixed(&suites) || !s.ReadUint8LengthPrefixed(&compression) {
		return nil, errHandshake
	}
	h.sessionID = append([]byte(nil), sessionID...)
	var err error
	if h.suites, err = uint16s(suites); err != nil {
		return nil, err
	}
	if s.Empty() {
		return h, nil // extensions are optional before TLS 1.3
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
		h.extensions = append(h.extensions, typ)
		// A malformed extension is the peer's business: what can't be read is left out.
		h.extension(typ, data)
	}
	return h, nil
}

func (h *clientHello) extension(typ uint16, data cryptobyte.String) {
	var list cryptobyte.String
	switch typ {
	case extServerName:
		h.hasServerName = true
		var kind uint8
		var name cryptobyte.String
		if data.ReadUint16LengthPrefixed(&list) && list.ReadUint8(&kind) && kind == 0 && list.ReadUint16LengthPrefixed(&name) {
			h.serverName = string(name)
		}
	case extALPN:
		h.alpn = parseALPN(data)
	case extSupportedGroups:
		if data.ReadUint16LengthPrefixed(&list) {
			h.groups, _ = uint16s(list)
		}
	case extECPointFormats:
		if data.ReadUint8LengthPrefixed(&list) {
			h.pointFormats = append([]byte(nil), list...)
		}
	case extSignatureAlgorithms:
		if data.ReadUint16LengthPrefixed(&list) {
			h.signatures, _ = uint16s(list)
		}
	case extSupportedVersions:
		if data.ReadUint8LengthPrefixed(&list) {
			h.versions, _ = uint16s(list)
		}
	case extEarlyData:
		h.earlyData = true
	case extEncryptedClientHello:
		h.ech = len(data) > 0 && data[0] == 0 // ECHClientHelloType outer
	}
}

// parseALPN reads a ProtocolNameList (RFC 7301, section 3.1).
func parseALPN(data cryptobyte.String) (names []string) {
	var list, name cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) {
		return nil
	}
	for list.ReadUint8LengthPrefixed(&name) {
		names = append(names, string(name))
	}
	return names
}

func uint16s(s cryptobyte.String) ([]uint16, error) {
	if len(s)%2 != 0 {
		return nil, errHandshake
	}
	v := make([]uint16, 0, len(s)/2)
	for !s.Empty() {
		var x uint16
		s.ReadUint16(&x)
		v = append(v, x)
	}
	return v, nil
}
