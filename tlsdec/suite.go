package tlsdec

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/sha1"
	"fmt"
	"hash"
	"strings"

	"clipper/tlsdec/internal/aria"
	"clipper/tlsdec/internal/camellia"
	"clipper/tlsdec/internal/idea"
	"clipper/tlsdec/internal/rc2"
	"clipper/tlsdec/internal/seed"
	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a cipher suite as far as the record protection and the key schedule need it.
type suite struct {
	id     uint16
	name   string
	cipher cipherKind
	keyLen int
	export int // of the key block: what the key of an export suite is made from; 0: none such
	ivLen  int // of the key block: fixed nonce or, before TLS 1.1, CBC IV
	macLen int // of the key block
	tagLen int
	block  func(key []byte) (cipher.Block, error)
	mac    func() hash.Hash
	prf    func() hash.Hash // of TLS 1.2's PRF and of TLS 1.3's HKDF
}

type cipherKind uint8

const (
	cipherGCM cipherKind = 1 + iota
	cipherCCM
	cipherChaCha20
	cipherCBC
	cipherRC4
	cipherNull
)

func (s *suite) aeadCipher() bool { return s.cipher <= cipherChaCha20 }

// suiteName is the IANA name of id, or its number.
func suiteName(id uint16) string {
	if n, ok := suiteNames[id]; ok {
		return n
	}
	return fmt.Sprintf("0x%04x", id)
}

// newSuite returns the suite of id, or nil if it is unknown or not implemented.
// A suite's name says all of it: TLS_<key exchange>_WITH_<cipher>_<hash>.
func newSuite(id uint16) *suite {
	name, ok := suiteNames[id]
	if !ok || id >= 0xcc13 && id <= 0xcc15 { // a draft's ChaCha20-Poly1305, with other nonces
		return nil
	}
	exchange, spec, before13 := strings.Cut(name, "_WITH_")
	if !before13 {
		spec = strings.TrimPrefix(name, "TLS_") // TLS 1.3
	}
	s := &suite{id: id, name: name, prf: newSHA256}
	for _, c := range suiteCiphers {
		rest, ok := strings.CutPrefix(spec, c.name)
		if !ok || rest != "" && rest[0] != '_' {
			continue
		}
		s.cipher, s.keyLen, s.ivLen, s.tagLen, s.block = c.kind, c.keyLen, c.ivLen, c.tagLen, c.block
		if strings.Contains(exchange, "_EXPORT") {
			s.export = cmp.Or(c.export, c.keyLen)
		}
		return s.withHash(strings.TrimPrefix(rest, "_"))
	}
	return nil
}

// withHash completes s by the hash of its name. An AEAD's hash is that of the
// PRF; a MAC's is so too, where it is stronger than SHA-256 (RFC 5246, section 5).
func (s *suite) withHash(name string) *suite {
	switch name {
	case "SHA384":
		s.prf, s.mac, s.macLen = newSHA384, newSHA384, 48
	case "SHA256":
		s.mac, s.macLen = newSHA256, 32
	case "SHA":
		s.mac, s.macLen = sha1.New, 20
	case "MD5":
		s.mac, s.macLen = md5.New, 16
	case "":
		if !s.aeadCipher() {
			return nil
		}
	default:
		return nil
	}
	if s.aeadCipher() {
		s.mac, s.macLen = nil, 0
	}
	return s
}

// suiteCiphers are the ciphers by the beginning of their names; of two that begin alike the
// longer one comes first.
var suiteCiphers = []struct {
	name   string
	kind   cipherKind
	keyLen int
	ivLen  int
	tagLen int
	export int // key material of an export suite, if not keyLen (RFC 2246, appendix C)
	block  func([]byte) (cipher.Block, error)
}{
	{"AES_128_GCM", cipherGCM, 16, 4, 16, 0, aes.NewCipher},
	{"AES_256_GCM", cipherGCM, 32, 4, 16, 0, aes.NewCipher},
	{"CHACHA20_POLY1305", cipherChaCha20, chacha20poly1305.KeySize, 12, 16, 0, nil},
	{"AES_128_CCM_8", cipherCCM, 16, 4, 8, 0, aes.NewCipher},
	{"AES_256_CCM_8", cipherCCM, 32, 4, 8, 0, aes.NewCipher},
	{"AES_128_CCM", cipherCCM, 16, 4, 16, 0, aes.NewCipher},
	{"AES_256_CCM", cipherCCM, 32, 4, 16, 0, aes.NewCipher},
	{"AES_128_CBC", cipherCBC, 16, 16, 0, 0, aes.NewCipher},
	{"AES_256_CBC", cipherCBC, 32, 16, 0, 0, aes.NewCipher},
	{"CAMELLIA_128_GCM", cipherGCM, 16, 4, 16, 0, camellia.New},
	{"CAMELLIA_256_GCM", cipherGCM, 32, 4, 16, 0, camellia.New},
	{"CAMELLIA_128_CBC", cipherCBC, 16, 16, 0, 0, camellia.New},
	{"CAMELLIA_256_CBC", cipherCBC, 32, 16, 0, 0, camellia.New},
	{"ARIA_128_GCM", cipherGCM, 16, 4, 16, 0, aria.New},
	{"ARIA_256_GCM", cipherGCM, 32, 4, 16, 0, aria.New},
	{"ARIA_128_CBC", cipherCBC, 16, 16, 0, 0, aria.New},
	{"ARIA_256_CBC", cipherCBC, 32, 16, 0, 0, aria.New},
	{"SEED_CBC", cipherCBC, 16, 16, 0, 0, seed.New},
	{"IDEA_CBC", cipherCBC, 16, 8, 0, 0, idea.New},
	{"3DES_EDE_CBC", cipherCBC, 24, 8, 0, 0, des.NewTripleDESCipher},
	{"DES_CBC_40", cipherCBC, 8, 8, 0, 5, des.NewCipher},
	{"DES_CBC", cipherCBC, 8, 8, 0, 0, des.NewCipher},
	{"DES40_CBC", cipherCBC, 8, 8, 0, 5, des.NewCipher},
	{"RC2_CBC_40", cipherCBC, 16, 8, 0, 5, rc2.New},
	{"RC2_CBC_56", cipherCBC, 16, 8, 0, 7, rc2.New},
	{"RC4_128", cipherRC4, 16, 0, 0, 0, nil},
	{"RC4_40", cipherRC4, 16, 0, 0, 5, nil},
	{"RC4_56", cipherRC4, 16, 0, 0, 7, nil},
	{"NULL", cipherNull, 0, 0, 0, 0, nil},
}

// parameters are what a handshake before TLS 1.3 agreed on for its keys.
type parameters struct {
	version        uint16
	suite          *suite
	clientRandom   [32]byte
	serverRandom   [32]byte
	encryptThenMAC bool
	compression    uint8
}
