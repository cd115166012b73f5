// Package aria is the block cipher ARIA (RFC 5794), for the suites of RFC 6209.
package aria

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// BlockSize is in bytes.
const BlockSize = 16

type word128 struct{ hi, lo uint64 }

func (w word128) xor(v word128) word128 { return word128{w.hi ^ v.hi, w.lo ^ v.lo} }

// rotated is w <<< n.
func (w word128) rotated(n uint) word128 {
	if n >= 64 {
		w.hi, w.lo, n = w.lo, w.hi, n-64
	}
	return word128{w.hi<<n | w.lo>>(64-n), w.lo<<n | w.hi>>(64-n)}
}

func load(b []byte) word128 {
	return word128{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

type block struct{ encrypt, decrypt []word128 } // round keys

// New makes a cipher from a key of 16, 24 or 32 bytes.
func New(key []byte) (cipher.Block, error) {
	switch len(key) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("aria: a key of %d bytes", len(key))
	}
	var padded [32]byte
	copy(padded[:], key)
	c := [3]word128{{0x517cc1b727220a94, 0xfe13abe8fa9a6ee0}, {0x6db14acc9e21c820, 0xff28b1d5ef5de2b0}, {0xdb92371d2126e970, 0x0324977504e8c90e}}
	first := (len(key) - 16) / 8
	// Section 2.2.
	var w [4]word128
	w[0] = load(padded[:])
	w[1] = diffuse(substitute(w[0].xor(c[first]), 0)).xor(load(padded[16:]))
	w[2] = diffuse(substitute(w[1].xor(c[(first+1)%3]), 2)).xor(w[0])
	w[3] = diffuse(substitute(w[2].xor(c[(first+2)%3]), 0)).xor(w[1])
	rounds := len(key)/4 + 8
	b := new(block)
	for i := range rounds + 1 {
		by := [...]uint{128 - 19, 128 - 31, 61, 31, 19}[i/4]
		b.encrypt = append(b.encrypt, w[i%4].xor(w[(i+1)%4].rotated(by)))
	}
	for i := range b.encrypt {
		k := b.encrypt[rounds-i]
		if i > 0 && i < rounds {
			k = diffuse(k)
		}
		b.decrypt = append(b.decrypt, k)
	}
	return b, nil
}

func (b *block) BlockSize() int          { return BlockSize }
func (b *block) Encrypt(dst, src []byte) { apply(b.encrypt, dst, src) }
func (b *block) Decrypt(dst, src []byte) { apply(b.decrypt, dst, src) }

func apply(keys []word128, dst, src []byte) {
	w := load(src)
	last := len(keys) - 2
	for i, k := range keys[:last] {
		w = diffuse(substitute(w.xor(k), uint(i%2*2)))
	}
	w = substitute(w.xor(keys[last]), 2).xor(keys[last+1])
	binary.BigEndian.PutUint64(dst, w.hi)
	binary.BigEndian.PutUint64(dst[8:], w.lo)
}

// substitute is the substitution layer (section 2.4.2) of odd rounds (first is
// 0) or even ones (2): the S-boxes in turn, beginning with first.
func substitute(w word128, first uint) word128 {
	half := func(x uint64) (y uint64) {
		for i := range uint(8) {
			y = y<<8 | uint64(sboxes[(first+i)%4][byte(x>>(56-8*i))])
		}
		return y
	}
	return word128{half(w.hi), half(w.lo)}
}

// diffuse is the diffusion layer (section 2.4.3): each byte is spread over seven of the result.
func diffuse(w word128) (y word128) {
	for i := range uint(8) {
		a, b := uint64(byte(w.hi>>(56-8*i))), uint64(byte(w.lo>>(56-8*i)))
		y.hi ^= a*spread[i].hi ^ b*spread[8+i].hi
		y.lo ^= a*spread[i].lo ^ b*spread[8+i].lo
	}
	return y
}

// spread has a 1 in each byte of the result that input byte i goes into. The matrix
// is symmetric, so row i of it also says what result byte i consists of.
var spread = func() (m [16]word128) {
	for i, row := range [16][7]uint{
		{3, 4, 6, 8, 9, 13, 14}, {2, 5, 7, 8, 9, 12, 15}, {1, 4, 6, 10, 11, 12, 15}, {0, 5, 7, 10, 11, 13, 14},
		{0, 2, 5, 8, 11, 14, 15}, {1, 3, 4, 9, 10, 14, 15}, {0, 2, 7, 9, 10, 12, 13}, {1, 3, 6, 8, 11, 12, 13},
		{0, 1, 4, 7, 10, 13, 15}, {0, 1, 5, 6, 11, 12, 14}, {2, 3, 5, 6, 8, 13, 15}, {2, 3, 4, 7, 9, 12, 14},
		{1, 2, 6, 7, 9, 11, 12}, {0, 3, 6, 7, 8, 10, 13}, {0, 3, 4, 5, 9, 11, 14}, {1, 2, 4, 5, 8, 10, 15},
	} {
		for _, j := range row {
			if j < 8 {
				m[i].hi |= 1 << (56 - 8*j)
			} else {
				m[i].lo |= 1 << (56 - 8*(j-8))
			}
		}
	}
	return m
}()

// sboxes are SB1 to SB4: that of AES, ARIA's own, and their inverses.
var sboxes = func() (s [4][256]byte) {
	s[0], s[1] = aes(), sbox2
	for i := range 256 {
		s[2][s[0][i]] = byte(i)
		s[3][s[1][i]] = byte(i)
	}
	return s
}()

// aes makes the S-box of AES (FIPS 197, section 5.1.1): the inverse in GF(2^8), then an
// affine map.
func aes() (s [256]byte) {
	p, q := byte(1), byte(1)
	for {
		x := p << 1 // p times 3
		if p&0x80 != 0 {
			x ^= 0x1b
		}
		p ^= x
		q ^= q << 1 // q divided by 3
		q ^= q << 2
		q ^= q << 4
		if q&0x80 != 0 {
			q ^= 0x09
		}
		s[p] = q ^ (q<<1 | q>>7) ^ (q<<2 | q>>6) ^ (q<<3 | q>>5) ^ (q<<4 | q>>4) ^ 0x63
		if p == 1 {
			s[0] = 0x63
			return s
		}
	}
}

var sbox2 = [256]byte{
	0xe2, 0x4e, 0x54, 0xfc, 0x94, 0xc2, 0x4a, 0xcc, 0x62, 0x0d, 0x6a, 0x46, 0x3c, 0x4d, 0x8b, 0xd1,
	0x5e, 0xfa, 0x64, 0xcb, 0xb4, 0x97, 0xbe, 0x2b, 0xbc, 0x77, 0x2e, 0x03, 0xd3, 0x19, 0x59, 0xc1,
	0x1d, 0x06, 0x41, 0x6b, 0x55, 0xf0, 0x99, 0x69, 0xea, 0x9c, 0x18, 0xae, 0x63, 0xdf, 0xe7, 0xbb,
	0x00, 0x73, 0x66, 0xfb, 0x96, 0x4c, 0x85, 0xe4, 0x3a, 0x09, 0x45, 0xaa, 0x0f, 0xee, 0x10, 0xeb,
	0x2d, 0x7f, 0xf4, 0x29, 0xac, 0xcf, 0xad, 0x91, 0x8d, 0x78, 0xc8, 0x95, 0xf9, 0x2f, 0xce, 0xcd,
	0x08, 0x7a, 0x88, 0x38, 0x5c, 0x83, 0x2a, 0x28, 0x47, 0xdb, 0xb8, 0xc7, 0x93, 0xa4, 0x12, 0x53,
	0xff, 0x87, 0x0e, 0x31, 0x36, 0x21, 0x58, 0x48, 0x01, 0x8e, 0x37, 0x74, 0x32, 0xca, 0xe9, 0xb1,
	0xb7, 0xab, 0x0c, 0xd7, 0xc4, 0x56, 0x42, 0x26, 0x07, 0x98, 0x60, 0xd9, 0xb6, 0xb9, 0x11, 0x40,
	0xec, 0x20, 0x8c, 0xbd, 0xa0, 0xc9, 0x84, 0x04, 0x49, 0x23, 0xf1, 0x4f, 0x50, 0x1f, 0x13, 0xdc,
	0xd8, 0xc0, 0x9e, 0x57, 0xe3, 0xc3, 0x7b, 0x65, 0x3b, 0x02, 0x8f, 0x3e, 0xe8, 0x25, 0x92, 0xe5,
	0x15, 0xdd, 0xfd, 0x17, 0xa9, 0xbf, 0xd4, 0x9a, 0x7e, 0xc5, 0x39, 0x67, 0xfe, 0x76, 0x9d, 0x43,
	0xa7, 0xe1, 0xd0, 0xf5, 0x68, 0xf2, 0x1b, 0x34, 0x70, 0x05, 0xa3, 0x8a, 0xd5, 0x79, 0x86, 0xa8,
	0x30, 0xc6, 0x51, 0x4b, 0x1e, 0xa6, 0x27, 0xf6, 0x35, 0xd2, 0x6e, 0x24, 0x16, 0x82, 0x5f, 0xda,
	0xe6, 0x75, 0xa2, 0xef, 0x2c, 0xb2, 0x1c, 0x9f, 0x5d, 0x6f, 0x80, 0x0a, 0x72, 0x44, 0x9b, 0x6c,
	0x90, 0x0b, 0x5b, 0x33, 0x7d, 0x5a, 0x52, 0xf3, 0x61, 0xa1, 0xf7, 0xb0, 0xd6, 0x3f, 0x7c, 0x6d,
	0xed, 0x14, 0xe0, 0xa5, 0x3d, 0x22, 0xb3, 0xf8, 0x89, 0xde, 0x71, 0x1a, 0xaf, 0xba, 0xb5, 0x81,
}
