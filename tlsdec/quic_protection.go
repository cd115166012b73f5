package tlsdec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"

	"clipper/bus"
	"golang.org/x/crypto/chacha20"
)

var quicSalts = map[uint32][]byte{
	quicVersion1:       {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
	quicVersion2:       {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
	quicVersionDraft29: {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99},
}

// quicInitialSuite protects Initial packets (RFC 9001, section 5.2).
var quicInitialSuite = newSuite(0x1301)

// quicKeys undo the packet protection of one direction and epoch (RFC 9001, section 5).
type quicKeys struct {
	suite    *suite
	secret   []byte
	hpSecret []byte // from which the key of the header follows
	aead     cipher.AEAD
	iv       [12]byte
	hp       quicHeaderMask
}

// quicHeaderMask gives the mask of a header from a sample of its packet (RFC
// 9001, section 5.4).
type quicHeaderMask func(sample []byte) [5]byte

const quicSample = 16 // bytes

// quicLabel is a label of the key schedule (RFC 9001, section 5.1; RFC 9369, section 3.3.2).
func quicLabel(version uint32, name string) string {
	if version == quicVersion2 {
		return "quicv2 " + name
	}
	return "quic " + name
}

// newQUICKeys makes keys of a traffic secret, and of the first one, whose header
// key serves for all that follow it (RFC 9001, section 6.1); nil if one does not fit
// the suite.
func newQUICKeys(version uint32, s *suite, secret, first []byte) *quicKeys {
	if s == nil || !s.aeadCipher() || len(secret) != s.prf().Size() || len(first) != len(secret) {
		return nil
	}
	k := &quicKeys{suite: s, secret: secret, hpSecret: first,
		aead: newAEAD(s, expandLabel(s.prf, secret, quicLabel(version, "key"), s.keyLen)),
		hp:   newHeaderMask(s, expandLabel(s.prf, first, quicLabel(version, "hp"), s.keyLen))}
	if k.aead == nil || k.hp == nil {
		return nil
	}
	copy(k.iv[:], expandLabel(s.prf, secret, quicLabel(version, "iv"), len(k.iv)))
	return k
}

func newHeaderMask(s *suite, key []byte) quicHeaderMask {
	if s.cipher == cipherChaCha20 {
		return func(sample []byte) (mask [5]byte) {
			c, err := chacha20.NewUnauthenticatedCipher(key, sample[4:quicSample])
			if err != nil {
				return mask
			}
			c.SetCounter(binary.LittleEndian.Uint32(sample))
			c.XORKeyStream(mask[:], mask[:])
			return mask
		}
	}
	block, err := s.block(key)
	if err != nil {
		return nil
	}
	return func(sample []byte) [5]byte {
		var out [aes.BlockSize]byte
		block.Encrypt(out[:], sample[:quicSample])
		return [5]byte(out[:5])
	}
}

// next are the keys after a key update.
func (k *quicKeys) next(version uint32) *quicKeys {
	return newQUICKeys(version, k.suite, expandLabel(k.suite.prf, k.secret, quicLabel(version, "ku"), len(k.secret)), k.hpSecret)
}

// newQUICInitialKeys makes the keys of Initial packets, which follow from the first
// Destination Connection ID of the client (RFC 9001, section 5.2).
func newQUICInitialKeys(version uint32, destination []byte, d bus.Dir) *quicKeys {
	initial, err := hkdf.Extract(newSHA256, destination, quicSalts[version])
	if err != nil {
		return nil
	}
	label := "client in"
	if d == bus.ServerToClient {
		label = "server in"
	}
	secret := expandLabel(newSHA256, initial, label, 32)
	return newQUICKeys(version, quicInitialSuite, secret, secret)
}

// quicUnmasked is a packet without header protection.
type quicUnmasked struct {
	header []byte // with the packet number
	body   []byte // protected
	number uint64
	phase  bool // the Key Phase of a short header
}

// unmask removes the header protection of packet b, which h describes (RFC 9001, section
// 5.4). What it returns is in memory that buf keeps. largest is the highest packet number of
// the space so far.
func (k *quicKeys) unmask(buf *[]byte, b []byte, h quicHeader, largest uint64) (u quicUnmasked, err error) {
	if h.number == 0 || h.end < h.number+4+quicSample {
		return u, errOpen
	}
	p := append((*buf)[:0], b[:h.end]...)
	*buf = p
	mask := k.hp(p[h.number+4:])
	if h.typ == quicShort {
		p[0] ^= mask[0] & 0x1f
		u.phase = p[0]&4 != 0
	} else {
		p[0] ^= mask[0] & 0x0f
	}
	n := int(p[0]&3) + 1
	truncated := uint64(0)
	for i := range n {
		p[h.number+i] ^= mask[1+i]
		truncated = truncated<<8 | uint64(p[h.number+i])
	}
	u.header, u.body, u.number = p[:h.number+n:h.number+n], p[h.number+n:], quicNumber(largest, truncated, n)
	return u, nil
}

// quicNumber is the packet number whose n low bytes are truncated (RFC 9000, appendix A.3).
func quicNumber(largest, truncated uint64, n int) uint64 {
	window := uint64(1) << (8 * n)
	expected := largest + 1
	number := expected&^(window-1) | truncated
	switch {
	case number+window/2 <= expected && number < 1<<62-window:
		return number + window
	case number > expected+window/2 && number >= window:
		return number - window
	}
	return number
}

// open removes the packet protection (RFC 9001, section 5.3) and returns the frames, which
// are in memory that buf keeps.
func (k *quicKeys) open(buf *[]byte, u quicUnmasked) ([]byte, error) {
	nonce := k.iv
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^u.number)
	frames, err := k.aead.Open((*buf)[:0], nonce[:], u.body, u.header)
	if err != nil {
		return nil, errOpen
	}
	*buf = frames
	return frames, nil
}
