package tlsdec

import "golang.org/x/crypto/cryptobyte"

// parseCertificate returns the DER certificates of a Certificate message, leaf
// first, as copies: TLS 1.3 (RFC 8446, section 4.4.2) or before (RFC 5246,
// section 7.4.2).
func parseCertificate(body []byte, tls13 bool) ([][]byte, error) {
	s := cryptobyte.String(body)
	var context, list cryptobyte.String
	if tls13 && !s.ReadUint8LengthPrefixed(&context) || !s.ReadUint24LengthPrefixed(&list) {
		return nil, errHandshake
	}
	var certs [][]byte
	for !list.Empty() {
		var cert, exts cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&cert) || tls13 && !list.ReadUint16LengthPrefixed(&exts) {
			return certs, errHandshake
		}
		certs = append(certs, append([]byte(nil), cert...))
	}
	return certs, nil
}
