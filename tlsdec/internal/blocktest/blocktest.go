// Package blocktest holds block ciphers against known answers.
package blocktest

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"testing"
)

// Run checks both directions of each vector (key, plaintext and ciphertext in
// hexadecimal), in place and not, and that keys of a wrong length are refused.
func Run(t *testing.T, newCipher func(key []byte) (cipher.Block, error), vectors [][3]string) {
	t.Helper()
	for _, v := range vectors {
		key, plain, sealed := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
		b, err := newCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, b.BlockSize())
		if b.Encrypt(got, plain); !bytes.Equal(got, sealed) {
			t.Errorf("key %x: encrypted %x, want %x", key, got, sealed)
		}
		if b.Decrypt(got, got); b.BlockSize() != len(plain) || !bytes.Equal(got, plain) {
			t.Errorf("key %x: decrypted %x, want %x", key, got, plain)
		}
	}
	for _, n := range []int{0, 200} {
		if _, err := newCipher(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is accepted", n)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
