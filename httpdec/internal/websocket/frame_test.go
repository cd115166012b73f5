package websocket

import (
	"bytes"
	"testing"
)

func TestParseHeader(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Header
	}{
		{"\x81\x05", Header{Fin: true, Opcode: Text, Length: 5}},
		{"\x42\xfe\x01\x00abcd", Header{RSV: 4, Opcode: Binary, Masked: true, Key: [4]byte([]byte("abcd")), Length: 256}},
		{"\x88\x7f\x80\x00\x00\x00\x00\x00\x00\x01", Header{Fin: true, Opcode: Close, Length: 1<<63 | 1}},
	} {
		for n := range len(c.in) {
			if _, k := ParseHeader([]byte(c.in[:n])); k != 0 {
				t.Errorf("%q is a header of %d bytes", c.in[:n], k)
			}
		}
		if h, n := ParseHeader([]byte(c.in + "payload")); h != c.want || n != len(c.in) {
			t.Errorf("%q: %+v, %d", c.in, h, n)
		}
	}
}

func TestUnmask(t *testing.T) {
	h := Header{Key: [4]byte{1, 2, 3, 4}}
	in := []byte("the quick brown fox")
	whole := make([]byte, len(in))
	h.Unmask(whole, in, 0)
	for cut := range in {
		parts := make([]byte, len(in))
		h.Unmask(parts, in[:cut], 0)
		h.Unmask(parts[cut:], in[cut:], uint64(cut))
		if !bytes.Equal(parts, whole) {
			t.Errorf("cut at %d: %q, want %q", cut, parts, whole)
		}
	}
	h.Unmask(whole, whole, 0)
	if !bytes.Equal(whole, in) {
		t.Errorf("unmasked twice: %q", whole)
	}
}
