package protobuf

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"\x0a\x05hello\x10\x96\x01", "1: \"hello\"\n2: 150\n"},
		{"\x1a\x03\x08\x96\x01", "3 {\n  1: 150\n}\n"},
		{"\x1a\x02\xff\xfe", "3: hex fffe\n"},
		{"\x22\x04\x01\x96\x01\x02", "4: [1 150 2]  # packed, or hex 01960102\n"},
		{"\x25\x00\x00\x80\x3f", "4: 1  # or 0x3f800000\n"},
		{"\x29\x00\x00\x00\x00\x00\x00\xf8\x3f", "5: 1.5  # or 0x3ff8000000000000\n"},
		{"\x00\x01", ""},
		{"\x0a\x05hell", ""},
		{"\x0b", ""},
	} {
		if got := Text([]byte(c.in)); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestTextBounds(t *testing.T) {
	deep := []byte("\x08\x01")
	for range 200 {
		if len(deep) > 120 {
			deep = append([]byte{0x1a, byte(len(deep)) | 0x80, byte(len(deep) >> 7)}, deep...)
		} else {
			deep = append([]byte{0x1a, byte(len(deep))}, deep...)
		}
	}
	many := []byte(strings.Repeat("\x08\x01", 1<<20))
	for _, b := range [][]byte{deep, many} {
		if n := len(Text(b)); n == 0 || n > 4*MaxText {
			t.Errorf("%d bytes of text", n)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("\x0a\x05hello\x1a\x03\x08\x96\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(Text(b)); n > MaxText+8*len(b)+4096 {
			t.Errorf("%d bytes of text from %d", n, len(b))
		}
	})
}
