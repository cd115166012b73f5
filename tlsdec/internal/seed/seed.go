// Package seed is the block cipher SEED (RFC 4269), for the suites of RFC 4162.
package seed

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// BlockSize is in bytes.
const BlockSize = 16

const rounds = 16

type block struct{ keys [rounds][2]uint32 }

// New makes a cipher from a key of 16 bytes.
func New(key []byte) (cipher.Block, error) {
	if len(key) != 16 {
		return nil, fmt.Errorf("seed: a key of %d bytes", len(key))
	}
	// Section 2.3.
	s := new(block)
	ab, cd := binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])
	for i := range s.keys {
		constant := bits.RotateLeft32(0x9e3779b9, i)
		s.keys[i][0] = g(uint32(ab>>32) + uint32(cd>>32) - constant)
		s.keys[i][1] = g(uint32(ab) - uint32(cd) + constant)
		if i%2 == 0 {
			ab = bits.RotateLeft64(ab, -8)
		} else {
			cd = bits.RotateLeft64(cd, 8)
		}
	}
	return s, nil
}

func (s *block) BlockSize() int          { return BlockSize }
func (s *block) Encrypt(dst, src []byte) { s.apply(dst, src, 0) }
func (s *block) Decrypt(dst, src []byte) { s.apply(dst, src, rounds-1) }

// apply runs the Feistel network with the round keys in order (first is 0) or in reverse.
func (s *block) apply(dst, src []byte, first int) {
	l, r := binary.BigEndian.Uint64(src), binary.BigEndian.Uint64(src[8:])
	for i := range s.keys {
		k := &s.keys[i^first]
		// The round function (section 2.1).
		c, d := uint32(r>>32)^k[0], uint32(r)^k[1]
		d = g(d ^ c)
		c = g(c + d)
		d = g(d + c)
		c += d
		l, r = r, l^(uint64(c)<<32|uint64(d))
	}
	binary.BigEndian.PutUint64(dst, r)
	binary.BigEndian.PutUint64(dst[8:], l)
}

// g is the function G (section 2.2): each byte is substituted, then parts of its bits
// go into those of the result.
func g(x uint32) uint32 {
	const everywhere = 0x01010101
	return uint32(s0[byte(x)])*everywhere&0x3fcff3fc ^
		uint32(s1[byte(x>>8)])*everywhere&0xfc3fcff3 ^
		uint32(s0[byte(x>>16)])*everywhere&0xf3fc3fcf ^
		uint32(s1[byte(x>>24)])*everywhere&0xcff3fc3f
}

var s0 = [256]byte{
	169, 133, 214, 211, 84, 29, 172, 37, 93, 67, 24, 30, 81, 252, 202, 99,
	40, 68, 32, 157, 224, 226, 200, 23, 165, 143, 3, 123, 187, 19, 210, 238,
	112, 140, 63, 168, 50, 221, 246, 116, 236, 149, 11, 87, 92, 91, 189, 1,
	36, 28, 115, 152, 16, 204, 242, 217, 44, 231, 114, 131, 155, 209, 134, 201,
	96, 80, 163, 235, 13, 182, 158, 79, 183, 90, 198, 120, 166, 18, 175, 213,
	97, 195, 180, 65, 82, 125, 141, 8, 31, 153, 0, 25, 4, 83, 247, 225,
	253, 118, 47, 39, 176, 139, 14, 171, 162, 110, 147, 77, 105, 124, 9, 10,
	191, 239, 243, 197, 135, 20, 254, 100, 222, 46, 75, 26, 6, 33, 107, 102,
	2, 245, 146, 138, 12, 179, 126, 208, 122, 71, 150, 229, 38, 128, 173, 223,
	161, 48, 55, 174, 54, 21, 34, 56, 244, 167, 69, 76, 129, 233, 132, 151,
	53, 203, 206, 60, 113, 17, 199, 137, 117, 251, 218, 248, 148, 89, 130, 196,
	255, 73, 57, 103, 192, 207, 215, 184, 15, 142, 66, 35, 145, 108, 219, 164,
	52, 241, 72, 194, 111, 61, 45, 64, 190, 62, 188, 193, 170, 186, 78, 85,
	59, 220, 104, 127, 156, 216, 74, 86, 119, 160, 237, 70, 181, 43, 101, 250,
	227, 185, 177, 159, 94, 249, 230, 178, 49, 234, 109, 95, 228, 240, 205, 136,
	22, 58, 88, 212, 98, 41, 7, 51, 232, 27, 5, 121, 144, 106, 42, 154,
}

var s1 = [256]byte{
	56, 232, 45, 166, 207, 222, 179, 184, 175, 96, 85, 199, 68, 111, 107, 91,
	195, 98, 51, 181, 41, 160, 226, 167, 211, 145, 17, 6, 28, 188, 54, 75,
	239, 136, 108, 168, 23, 196, 22, 244, 194, 69, 225, 214, 63, 61, 142, 152,
	40, 78, 246, 62, 165, 249, 13, 223, 216, 43, 102, 122, 39, 47, 241, 114,
	66, 212, 65, 192, 115, 103, 172, 139, 247, 173, 128, 31, 202, 44, 170, 52,
	210, 11, 238, 233, 93, 148, 24, 248, 87, 174, 8, 197, 19, 205, 134, 185,
	255, 125, 193, 49, 245, 138, 106, 177, 209, 32, 215, 2, 34, 4, 104, 113,
	7, 219, 157, 153, 97, 190, 230, 89, 221, 81, 144, 220, 154, 163, 171, 208,
	129, 15, 71, 26, 227, 236, 141, 191, 150, 123, 92, 162, 161, 99, 35, 77,
	200, 158, 156, 58, 12, 46, 186, 110, 159, 90, 242, 146, 243, 73, 120, 204,
	21, 251, 112, 117, 127, 53, 16, 3, 100, 109, 198, 116, 213, 180, 234, 9,
	118, 25, 254, 64, 18, 224, 189, 5, 250, 1, 240, 42, 94, 169, 86, 67,
	133, 20, 137, 155, 176, 229, 72, 121, 151, 252, 30, 130, 33, 140, 27, 95,
	119, 84, 178, 29, 37, 79, 0, 70, 237, 88, 82, 235, 126, 218, 201, 253,
	48, 149, 101, 60, 182, 228, 187, 124, 14, 80, 57, 38, 50, 132, 105, 147,
	55, 231, 36, 164, 203, 83, 10, 135, 217, 76, 131, 143, 206, 59, 74, 183,
}
