package tlsdec

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

var errOpen = errors.New("tlsdec: record does not authenticate")

// ccm is the opening half of CCM (RFC 3610) with 12-byte nonces, as TLS uses
// it (RFC 6655): L is 3, the tag 8 or 16 bytes.
type ccm struct {
	block          cipher.Block
	tagLen         int
	b, a, s0, mask [16]byte
}

func newCCM(block cipher.Block, tagLen int) *ccm { return &ccm{block: block, tagLen: tagLen} }

func (c *ccm) NonceSize() int { return 12 }
func (c *ccm) Overhead() int  { return c.tagLen }

// Seal is not needed by a listener.
func (c *ccm) Seal(dst, nonce, plaintext, additional []byte) []byte { panic("tlsdec: CCM only opens") }

// Open implements cipher.AEAD; dst and ciphertext may be the same memory.
func (c *ccm) Open(dst, nonce, ciphertext, additional []byte) ([]byte, error) {
	n := len(ciphertext) - c.tagLen
	if n < 0 || n >= 1<<24 || len(nonce) != 12 || len(additional) >= 0xff00 {
		return nil, errOpen
	}
	tag := ciphertext[n:]
	// Counter blocks A_i: flags L-1, nonce, 3 bytes of counter.
	c.a[0] = 2
	copy(c.a[1:], nonce)
	c.a[13], c.a[14], c.a[15] = 0, 0, 0
	c.block.Encrypt(c.s0[:], c.a[:])
	// B_0: flags, nonce, 3 bytes of length.
	c.b[0] = byte((c.tagLen-2)/2<<3 | 2)
	if len(additional) > 0 {
		c.b[0] |= 0x40
	}
	copy(c.b[1:], nonce)
	c.b[13], c.b[14], c.b[15] = byte(n>>16), byte(n>>8), byte(n)
	c.block.Encrypt(c.b[:], c.b[:])
	if len(additional) > 0 {
		var l [2]byte
		binary.BigEndian.PutUint16(l[:], uint16(len(additional)))
		c.b[0] ^= l[0]
		c.b[1] ^= l[1]
		c.absorb(additional, 2)
	}
	start := len(dst)
	dst = append(dst, ciphertext[:n]...)
	plain := dst[start:]
	for i := 0; i < n; i += 16 {
		counter := uint32(i/16 + 1)
		c.a[13], c.a[14], c.a[15] = byte(counter>>16), byte(counter>>8), byte(counter)
		c.block.Encrypt(c.mask[:], c.a[:])
		chunk := plain[i:min(i+16, n)]
		subtle.XORBytes(chunk, chunk, c.mask[:])
	}
	c.absorb(plain, 0)
	for i := range tag {
		c.mask[i] = c.b[i] ^ c.s0[i]
	}
	if subtle.ConstantTimeCompare(c.mask[:c.tagLen], tag) != 1 {
		return nil, errOpen
	}
	return dst, nil
}

// absorb takes data into the CBC-MAC, padded with zeros; the first block has
// used bytes taken already.
func (c *ccm) absorb(data []byte, used int) {
	for len(data) > 0 {
		n := min(16-used, len(data))
		subtle.XORBytes(c.b[used:used+n], c.b[used:used+n], data[:n])
		c.block.Encrypt(c.b[:], c.b[:])
		data, used = data[n:], 0
	}
}
