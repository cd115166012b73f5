package tlsdec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"encoding/binary"

	"clipper/bus"
)

var quicSalts = map[uint32][]byte{
	quicVersion1:       {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
	quicVersion2:       {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
	quicVersionDraft29: {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99},
}

// quicInitialKeys open the Initial packets of one direction: they follow from the first
// Destination Connection ID of the client (RFC 9001, section 5.2).
type quicInitialKeys struct {
	aead cipher.AEAD
	iv   [12]byte
	hp   cipher.Block
}

func newQUICInitialKeys(version uint32, destination []byte, d bus.Dir) *quicInitialKeys {
	initial, err := hkdf.Extract(newSHA256, destination, quicSalts[version])
	if err != nil {
		return nil
	}
	label, prefix := "client in", "quic "
	if d == bus.ServerToClient {
		label = "server in"
	}
	if version == quicVersion2 {
		prefix = "quicv2 " // RFC 9369, section 3.3.2
	}
	secret := expandLabel(newSHA256, initial, label, 32)
	block, err := aes.NewCipher(expandLabel(newSHA256, secret, prefix+"key", 16))
	if err != nil {
		return nil
	}
	k := new(quicInitialKeys)
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return nil
	}
	copy(k.iv[:], expandLabel(newSHA256, secret, prefix+"iv", 12))
	if k.hp, err = aes.NewCipher(expandLabel(newSHA256, secret, prefix+"hp", 16)); err != nil {
		return nil
	}
	return k
}

// open removes header and packet protection of the packet of header h in front
// of b (RFC 9001, sections 5.3 and 5.4) and returns its frames.
func (k *quicInitialKeys) open(b []byte, h quicLongHeader) ([]byte, error) {
	if h.number == 0 || h.end < h.number+4+aes.BlockSize {
		return nil, errOpen
	}
	packet := append([]byte(nil), b[:h.end]...)
	var mask [aes.BlockSize]byte
	k.hp.Encrypt(mask[:], packet[h.number+4:h.number+4+aes.BlockSize])
	packet[0] ^= mask[0] & 0x0f
	n := int(packet[0]&3) + 1
	var number uint32
	for i := range n {
		packet[h.number+i] ^= mask[1+i]
		number = number<<8 | uint32(packet[h.number+i])
	}
	nonce := k.iv
	binary.BigEndian.PutUint32(nonce[8:], binary.BigEndian.Uint32(nonce[8:])^number)
	body := packet[h.number+n:]
	frames, err := k.aead.Open(body[:0], nonce[:], body, packet[:h.number+n])
	if err != nil {
		return nil, errOpen
	}
	return frames, nil
}
