// Package camellia is the block cipher Camellia (RFC 3713), for the suites of
// RFC 5932 and RFC 6367.
package camellia

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// BlockSize is in bytes.
const BlockSize = 16

// schedule holds the subkeys in the order of use, whitening first and last.
type schedule struct {
	kw [4]uint64
	k  []uint64 // 18 or 24
	ke []uint64 // 4 or 6
}

type block struct{ encrypt, decrypt schedule }

// New makes a cipher from a key of 16, 24 or 32 bytes.
func New(key []byte) (cipher.Block, error) {
	var kl, kr word128
	switch len(key) {
	case 16:
	case 24:
		kr.hi = binary.BigEndian.Uint64(key[16:])
		kr.lo = ^kr.hi
	case 32:
		kr = load(key[16:])
	default:
		return nil, fmt.Errorf("camellia: a key of %d bytes", len(key))
	}
	kl = load(key)
	b := new(block)
	b.encrypt.expand(kl, kr, len(key) == 16)
	b.decrypt = b.encrypt.reversed()
	return b, nil
}

func (b *block) BlockSize() int          { return BlockSize }
func (b *block) Encrypt(dst, src []byte) { b.encrypt.apply(dst, src) }
func (b *block) Decrypt(dst, src []byte) { b.decrypt.apply(dst, src) }

type word128 struct{ hi, lo uint64 }

func load(b []byte) word128 {
	return word128{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func (w word128) rotated(n uint) word128 {
	if n >= 64 {
		w.hi, w.lo, n = w.lo, w.hi, n-64
	}
	return word128{w.hi<<n | w.lo>>(64-n), w.lo<<n | w.hi>>(64-n)}
}

// expand is the key schedule (section 2.2).
func (s *schedule) expand(kl, kr word128, short bool) {
	mix := func(w word128, sigma1, sigma2 uint64) word128 {
		w.lo ^= f(w.hi ^ sigma1)
		w.hi ^= f(w.lo ^ sigma2)
		return w
	}
	ka := mix(word128{kl.hi ^ kr.hi, kl.lo ^ kr.lo}, 0xa09e667f3bcc908b, 0xb67ae8584caa73b2)
	ka = mix(word128{ka.hi ^ kl.hi, ka.lo ^ kl.lo}, 0xc6ef372fe94f82be, 0x54ff53a5f1d36f1c)
	use := func(list *[]uint64, w word128, by uint) {
		w = w.rotated(by)
		*list = append(*list, w.hi, w.lo)
	}
	s.kw[0], s.kw[1] = kl.hi, kl.lo
	last := ka.rotated(111)
	if short {
		use(&s.k, ka, 0)
		use(&s.k, kl, 15)
		use(&s.k, ka, 15)
		use(&s.ke, ka, 30)
		use(&s.k, kl, 45)
		s.k = append(s.k, ka.rotated(45).hi, kl.rotated(60).lo)
		use(&s.k, ka, 60)
		use(&s.ke, kl, 77)
		use(&s.k, kl, 94)
		use(&s.k, ka, 94)
		use(&s.k, kl, 111)
	} else {
		kb := mix(word128{ka.hi ^ kr.hi, ka.lo ^ kr.lo}, 0x10e527fade682d1d, 0xb05688c2b3e6c1fd)
		use(&s.k, kb, 0)
		use(&s.k, kr, 15)
		use(&s.k, ka, 15)
		use(&s.ke, kr, 30)
		use(&s.k, kb, 30)
		use(&s.k, kl, 45)
		use(&s.k, ka, 45)
		use(&s.ke, kl, 60)
		use(&s.k, kr, 60)
		use(&s.k, kb, 60)
		use(&s.k, kl, 77)
		use(&s.ke, ka, 77)
		use(&s.k, kr, 94)
		use(&s.k, ka, 94)
		use(&s.k, kl, 111)
		last = kb.rotated(111)
	}
	s.kw[2], s.kw[3] = last.hi, last.lo
}

// reversed is the schedule that undoes s (section 2.3.3).
func (s *schedule) reversed() schedule {
	r := schedule{kw: [4]uint64{s.kw[2], s.kw[3], s.kw[0], s.kw[1]}}
	for i := range s.k {
		r.k = append(r.k, s.k[len(s.k)-1-i])
	}
	for i := range s.ke {
		r.ke = append(r.ke, s.ke[len(s.ke)-1-i])
	}
	return r
}

func (s *schedule) apply(dst, src []byte) {
	w := load(src)
	d1, d2 := w.hi^s.kw[0], w.lo^s.kw[1]
	ke := s.ke
	for i := 0; i < len(s.k); i += 2 {
		if i > 0 && i%6 == 0 {
			d1, d2 = fl(d1, ke[0]), flInverse(d2, ke[1])
			ke = ke[2:]
		}
		d2 ^= f(d1 ^ s.k[i])
		d1 ^= f(d2 ^ s.k[i+1])
	}
	binary.BigEndian.PutUint64(dst, d2^s.kw[2])
	binary.BigEndian.PutUint64(dst[8:], d1^s.kw[3])
}

// f is the F-function (section 2.4.1) of an input that the subkey was added to:
// each byte is substituted, then spread over those of the result.
func f(x uint64) uint64 {
	return uint64(sbox[byte(x>>56)])*0x0101010001000001 ^
		uint64(bits.RotateLeft8(sbox[byte(x>>48)], 1))*0x0001010101010000 ^
		uint64(bits.RotateLeft8(sbox[byte(x>>40)], 7))*0x0100010100010100 ^
		uint64(sbox[bits.RotateLeft8(byte(x>>32), 1)])*0x0101000100000101 ^
		uint64(bits.RotateLeft8(sbox[byte(x>>24)], 1))*0x0001010100010101 ^
		uint64(bits.RotateLeft8(sbox[byte(x>>16)], 7))*0x0100010101000101 ^
		uint64(sbox[bits.RotateLeft8(byte(x>>8), 1)])*0x0101000101010001 ^
		uint64(sbox[byte(x)])*0x0101010001010100
}

// fl is the FL-function (section 2.4.2).
func fl(x, k uint64) uint64 {
	l, r := uint32(x>>32), uint32(x)
	r ^= bits.RotateLeft32(l&uint32(k>>32), 1)
	l ^= r | uint32(k)
	return uint64(l)<<32 | uint64(r)
}

func flInverse(x, k uint64) uint64 {
	l, r := uint32(x>>32), uint32(x)
	l ^= r | uint32(k)
	r ^= bits.RotateLeft32(l&uint32(k>>32), 1)
	return uint64(l)<<32 | uint64(r)
}

// sbox is SBOX1; the others are rotations of it.
var sbox = [256]byte{
	112, 130, 44, 236, 179, 39, 192, 229, 228, 133, 87, 53, 234, 12, 174, 65,
	35, 239, 107, 147, 69, 25, 165, 33, 237, 14, 79, 78, 29, 101, 146, 189,
	134, 184, 175, 143, 124, 235, 31, 206, 62, 48, 220, 95, 94, 197, 11, 26,
	166, 225, 57, 202, 213, 71, 93, 61, 217, 1, 90, 214, 81, 86, 108, 77,
	139, 13, 154, 102, 251, 204, 176, 45, 116, 18, 43, 32, 240, 177, 132, 153,
	223, 76, 203, 194, 52, 126, 118, 5, 109, 183, 169, 49, 209, 23, 4, 215,
	20, 88, 58, 97, 222, 27, 17, 28, 50, 15, 156, 22, 83, 24, 242, 34,
	254, 68, 207, 178, 195, 181, 122, 145, 36, 8, 232, 168, 96, 252, 105, 80,
	170, 208, 160, 125, 161, 137, 98, 151, 84, 91, 30, 149, 224, 255, 100, 210,
	16, 196, 0, 72, 163, 247, 117, 219, 138, 3, 230, 218, 9, 63, 221, 148,
	135, 92, 131, 2, 205, 74, 144, 51, 115, 103, 246, 243, 157, 127, 191, 226,
	82, 155, 216, 38, 200, 55, 198, 59, 129, 150, 111, 75, 19, 190, 99, 46,
	233, 121, 167, 140, 159, 110, 188, 142, 41, 245, 249, 182, 47, 253, 180, 89,
	120, 152, 6, 106, 231, 70, 113, 186, 212, 37, 171, 66, 136, 162, 141, 250,
	114, 7, 185, 85, 248, 238, 172, 10, 54, 73, 42, 104, 60, 56, 241, 164,
	64, 40, 211, 123, 187, 201, 67, 193, 21, 227, 173, 244, 119, 199, 128, 158,
}
