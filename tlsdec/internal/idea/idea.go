// Package idea is the block cipher IDEA (X. Lai, "On the Design and Security of
// Block Ciphers", 1992), for the suite of RFC 2246 and RFC 5469.
package idea

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// BlockSize is in bytes.
const BlockSize = 8

const (
	rounds  = 8
	subkeys = 6*rounds + 4
)

type block struct{ encrypt, decrypt [subkeys]uint16 }

// New makes a cipher from a key of 16 bytes.
func New(key []byte) (cipher.Block, error) {
	if len(key) != 16 {
		return nil, fmt.Errorf("idea: a key of %d bytes", len(key))
	}
	b := new(block)
	// Eight subkeys are the key; the next eight that rotated left by 25 bits, and so on.
	hi, lo := binary.BigEndian.Uint64(key), binary.BigEndian.Uint64(key[8:])
	for i := range b.encrypt {
		if i > 0 && i%8 == 0 {
			hi, lo = hi<<25|lo>>39, lo<<25|hi>>39
		}
		half := hi
		if i%8 >= 4 {
			half = lo
		}
		b.encrypt[i] = uint16(half >> (48 - i%4*16))
	}
	// Decryption: the inverses of the keys of the output transformation and of each
	// round, last first; the inner additions are swapped but at both ends.
	for r := range rounds + 1 {
		d, e := b.decrypt[6*r:], b.encrypt[6*(rounds-r):]
		d[0], d[1], d[2], d[3] = inverse(e[0]), -e[2], -e[1], inverse(e[3])
		if r == 0 || r == rounds {
			d[1], d[2] = d[2], d[1]
		}
		if r < rounds {
			e = b.encrypt[6*(rounds-1-r):]
			d[4], d[5] = e[4], e[5]
		}
	}
	return b, nil
}

func (b *block) BlockSize() int          { return BlockSize }
func (b *block) Encrypt(dst, src []byte) { apply(&b.encrypt, dst, src) }
func (b *block) Decrypt(dst, src []byte) { apply(&b.decrypt, dst, src) }

func apply(keys *[subkeys]uint16, dst, src []byte) {
	x := [4]uint16{binary.BigEndian.Uint16(src), binary.BigEndian.Uint16(src[2:]), binary.BigEndian.Uint16(src[4:]), binary.BigEndian.Uint16(src[6:])}
	k := keys[:]
	for range rounds {
		x[0], x[1], x[2], x[3] = multiply(x[0], k[0]), x[1]+k[1], x[2]+k[2], multiply(x[3], k[3])
		t := multiply(x[0]^x[2], k[4])
		u := multiply(x[1]^x[3]+t, k[5])
		t += u
		x = [4]uint16{x[0] ^ u, x[2] ^ u, x[1] ^ t, x[3] ^ t}
		k = k[6:]
	}
	binary.BigEndian.PutUint16(dst, multiply(x[0], k[0]))
	binary.BigEndian.PutUint16(dst[2:], x[2]+k[1])
	binary.BigEndian.PutUint16(dst[4:], x[1]+k[2])
	binary.BigEndian.PutUint16(dst[6:], multiply(x[3], k[3]))
}

// multiply is the product modulo 2^16+1, where 0 stands for 2^16.
func multiply(a, b uint16) uint16 {
	x, y := uint64(a), uint64(b)
	if x == 0 {
		x = 1 << 16
	}
	if y == 0 {
		y = 1 << 16
	}
	return uint16(x * y % (1<<16 + 1))
}

// inverse is that of multiply: by Fermat, a to the power of 2^16-1.
func inverse(a uint16) uint16 {
	r := uint16(1)
	for range 16 {
		r = multiply(multiply(r, r), a)
	}
	return r
}
