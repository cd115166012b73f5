// Package rc4 is the stream cipher RC4 (RFC 7465 forbids it; RFC 6229 has its
// test vectors), with a state that can be stored, which crypto/rc4 has not.
package rc4

import "fmt"

// Cipher is a key stream at some position. It may be copied.
type Cipher struct {
	S    [256]byte // a permutation
	I, J byte
}

// New makes a cipher from a key of 1 to 256 bytes.
func New(key []byte) (*Cipher, error) {
	if len(key) < 1 || len(key) > 256 {
		return nil, fmt.Errorf("rc4: a key of %d bytes", len(key))
	}
	c := new(Cipher)
	for i := range c.S {
		c.S[i] = byte(i)
	}
	var j byte
	for i := range c.S {
		j += c.S[i] + key[i%len(key)]
		c.S[i], c.S[j] = c.S[j], c.S[i]
	}
	return c, nil
}

// XORKeyStream implements cipher.Stream; dst and src are the same memory or apart.
func (c *Cipher) XORKeyStream(dst, src []byte) {
	i, j := c.I, c.J
	dst = dst[:len(src)]
	for k, b := range src {
		i++
		x := c.S[i]
		j += x
		y := c.S[j]
		c.S[i], c.S[j] = y, x
		dst[k] = b ^ c.S[x+y]
	}
	c.I, c.J = i, j
}
