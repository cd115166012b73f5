package tlsdec

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"golang.org/x/crypto/cryptobyte"
)

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func expandLabel(newHash func() hash.Hash, secret []byte, label string, length int) []byte {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8(0)
	info, err := b.Bytes()
	if err != nil {
		return nil
	}
	out, err := hkdf.Expand(newHash, secret, string(info), length)
	if err != nil {
		return nil
	}
	return out
}

// trafficKeys are the write key and IV of a traffic secret (RFC 8446, section 7.3).
func trafficKeys(s *suite, secret []byte) (key, iv []byte) {
	return expandLabel(s.prf, secret, "key", s.keyLen), expandLabel(s.prf, secret, "iv", 12)
}

// nextTrafficSecret is application_traffic_secret_N+1 (RFC 8446, section 7.2).
func nextTrafficSecret(s *suite, secret []byte) []byte {
	return expandLabel(s.prf, secret, "traffic upd", len(secret))
}

func newSHA256() hash.Hash { return sha256.New() }
func newSHA384() hash.Hash { return sha512.New384() }
