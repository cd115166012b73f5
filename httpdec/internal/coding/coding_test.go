package coding

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	brotlilib "github.com/andybalholm/brotli"
	zstdlib "github.com/klauspost/compress/zstd"
)

// samples are bodies that use all of a coding: stored, fixed and dynamic blocks,
// long matches, nothing at all.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	var text bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&text, "%d the quick brown fox %x\n", rng.IntN(1000), i*i)
	}
	return map[string][]byte{
		"empty": {}, "one": []byte("x"), "hello": []byte("hello hello hello hello"), "zeros": make([]byte, 300_000),
		"random": random, "text": text.Bytes(), "mixed": append(append(text.Bytes()[:100_000:100_000], random...), text.Bytes()...),
	}
}

func encode(t testing.TB, coding string, b []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		z, _ := stdgzip.NewWriterLevel(&out, 6)
		z.Name, z.Comment, z.Extra = "name", "comment", []byte("extra")
		w = z
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw deflate":
		w, _ = stdflate.NewWriter(&out, 1)
	case "huffman only":
		w, _ = stdflate.NewWriter(&out, stdflate.HuffmanOnly)
	case "br":
		w = brotlilib.NewWriterLevel(&out, 5)
	case "zstd":
		w, _ = zstdlib.NewWriter(&out, zstdlib.WithEncoderConcurrency(1))
	case "compress":
		c := exec.Command("compress", "-c")
		c.Stdin, c.Stdout = bytes.NewReader(b), &out
		if err := c.Run(); err != nil && out.Len() == 0 {
			t.Skip("no program compress")
		}
		return out.Bytes()
	}
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func name(coding string) string {
	switch coding {
	case "raw deflate", "huffman only":
		return "deflate"
	}
	return coding
}

// decode pushes b in pieces that sizes gives.
func decode(codings []string, b []byte, size func() int) ([]byte, error) {
	d, _ := New(codings)
	var out bytes.Buffer
	pass := func(p []byte) { out.Write(p) }
	var first error
	for len(b) > 0 {
		n := min(len(b), size())
		if err := d.Write(b[:n:n], pass); err != nil && first == nil {
			first = err
		}
		b = b[n:]
	}
	if err := d.Close(pass); first == nil {
		first = err
	}
	return out.Bytes(), first
}

func TestDecode(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "huffman only", "br", "zstd", "compress"} {
		t.Run(coding, func(t *testing.T) {
			for what, want := range samples() {
				if coding == "compress" && len(want) == 0 {
					continue // compress makes nothing of it
				}
				b := encode(t, coding, want)
				rng := rand.New(rand.NewPCG(3, 4))
				for how, size := range map[string]func() int{
					"whole": func() int { return len(b) + 1 }, "bytes": func() int { return 1 }, "random": func() int { return 1 + rng.IntN(5000) },
				} {
					got, err := decode([]string{name(coding)}, b, size)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s %s: %d bytes of %d, %v", what, how, len(got), len(want), err)
					}
				}
			}
		})
	}
}

// TestTruncated wants, of every prefix, what can be decoded and the error.
func TestTruncated(t *testing.T) {
	want := []byte(strings.Repeat("hello world, ", 30) + "the end")
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "br", "zstd"} {
		b := encode(t, coding, want)
		for n := range b {
			got, err := decode([]string{name(coding)}, b[:n], func() int { return 7 })
			if err == nil || !bytes.HasPrefix(want, got) {
				t.Errorf("%s: %d of %d bytes decode to %q, %v", coding, n, len(b), got, err)
			}
		}
		got, err := decode([]string{name(coding)}, append(b, "trailing garbage"...), func() int { return 7 })
		if err == nil || !bytes.Equal(got, want) {
			t.Errorf("%s with garbage behind: %q, %v", coding, got, err)
		}
	}
}

func TestMembers(t *testing.T) {
	b := append(encode(t, "gzip", []byte("one ")), encode(t, "gzip", []byte("two"))...)
	if got, err := decode([]string{"gzip"}, b, func() int { return 3 }); string(got) != "one two" || err != nil {
		t.Errorf("gzip: %q, %v", got, err)
	}
	b = append(encode(t, "zstd", []byte("one ")), "\x50\x2a\x4d\x18\x03\x00\x00\x00xyz"...)
	b = append(b, encode(t, "zstd", []byte("two"))...)
	if got, err := decode([]string{"zstd"}, b, func() int { return 3 }); string(got) != "one two" || err != nil {
		t.Errorf("zstd: %q, %v", got, err)
	}
}

func TestStack(t *testing.T) {
	want := samples()["text"]
	b := encode(t, "br", encode(t, "gzip", want))
	got, err := decode(Split("x-gzip, br"), b, func() int { return 100 })
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if _, unknown := New([]string{"gzip", "dcb"}); unknown != "dcb" {
		t.Errorf("unknown coding is %q", unknown)
	}
}

func TestDamaged(t *testing.T) {
	b := encode(t, "gzip", []byte("hello"))
	b[len(b)-5] ^= 1
	if got, err := decode([]string{"gzip"}, b, func() int { return 1 }); string(got) != "hello" || !errors.Is(err, ErrChecksum) {
		t.Errorf("wrong checksum: %q, %v", got, err)
	}
	for _, coding := range []string{"gzip", "zstd"} {
		if _, err := decode([]string{coding}, []byte("just text, not encoded"), func() int { return 1 }); err != ErrFormat {
			t.Errorf("%s of text: %v", coding, err)
		}
	}
}

// TestFlip damages one bit at a time: no panic, no hang, and DEFLATE agrees with
// the standard library on what is an error.
func TestFlip(t *testing.T) {
	want := []byte(strings.Repeat("hello world, ", 30) + "the end")
	for _, coding := range []string{"raw deflate", "br", "zstd", "gzip", "compress"} {
		b := encode(t, coding, want)
		for bit := range len(b) * 8 {
			c := bytes.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			got, err := decode([]string{name(coding)}, c, func() int { return 5 })
			again, err2 := decode([]string{name(coding)}, c, func() int { return len(c) })
			// The brotli library drops what it decoded in the call that fails.
			if coding != "br" && (!bytes.Equal(got, again) || (err == nil) != (err2 == nil)) {
				t.Errorf("%s bit %d: in pieces %d bytes, %v; whole %d, %v", coding, bit, len(got), err, len(again), err2)
			}
			if coding != "raw deflate" || c[0]&15 == 8 {
				continue
			}
			std, stdErr := io.ReadAll(stdflate.NewReader(bytes.NewReader(c)))
			if stdErr == nil && (err != nil && err != ErrTrailing || !bytes.Equal(std, got)) || stdErr != nil && err == nil {
				t.Errorf("deflate bit %d: %d bytes, %v; compress/flate says %d, %v", bit, len(got), err, len(std), stdErr)
			}
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, b := range samples() {
		if len(b) < 1000 {
			f.Add(encode(f, "raw deflate", b), 3)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		d := newInflate()
		var got bytes.Buffer
		pass := func(p []byte) {
			if got.Len() < 1<<22 {
				got.Write(p)
			}
		}
		done := false
		var err error
		n = 1 + max(0, n)%50
		for c := b; len(c) > 0 && !done && err == nil; {
			k := min(n, len(c))
			_, done, err = d.write(c[:k], pass)
			c = c[k:]
		}
		std, stdErr := io.ReadAll(io.LimitReader(stdflate.NewReader(bytes.NewReader(b)), 1<<22))
		if len(std) < 1<<22 && (stdErr == nil) != done {
			t.Fatalf("done %v, %v; compress/flate says %v", done, err, stdErr)
		}
		if m := min(len(std), got.Len(), 1<<22); stdErr == nil && !bytes.Equal(std[:m], got.Bytes()[:m]) {
			t.Fatal("decodes to other bytes")
		}
	})
}

func FuzzDecode(f *testing.F) {
	all := []string{"gzip", "deflate", "br", "zstd", "compress"}
	for i, c := range all {
		if c != "compress" {
			f.Add(encode(f, c, []byte("hello hello hello")), uint8(i))
		}
	}
	f.Add([]byte("\x1f\x9d\x90h\xca\xb0a\xf3\x06"), uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, i uint8) {
		c := []string{all[int(i)%len(all)]}
		got, err := decode(c, b, func() int { return len(b) })
		again, err2 := decode(c, b, func() int { return 3 })
		if c[0] != "br" && (!bytes.Equal(got, again) || (err == nil) != (err2 == nil)) {
			t.Fatalf("%s: whole %d bytes, %v; in pieces %d, %v", c[0], len(got), err, len(again), err2)
		}
	})
}

func BenchmarkGzip(b *testing.B) {
	want := samples()["text"]
	z := encode(b, "gzip", want)
	b.SetBytes(int64(len(want)))
	for b.Loop() {
		d, _ := New([]string{"gzip"})
		if err := d.Write(z, func([]byte) {}); err != nil {
			b.Fatal(err)
		}
		d.Close(nil)
	}
}

func TestWindow(t *testing.T) {
	body := samples()["text"]
	for coding, want := range map[string]int{"gzip": 0, "compress": 0, "br": 1 << 20, "zstd": 8 << 20} {
		in := encode(t, coding, body)
		d, _ := New([]string{coding})
		if err := d.Write(in[:len(in)*9/10], func([]byte) {}); err != nil {
			t.Fatal(err)
		}
		if got := d.Window(); got > want || want > 0 && got < want/8 {
			t.Errorf("%s: a window of %d bytes, want about %d", coding, got, want)
		}
		if err := d.Write(in[len(in)*9/10:], func([]byte) {}); err != nil {
			t.Fatal(err)
		}
		if got := d.Window(); got != 0 && coding != "br" {
			t.Errorf("%s: a window of %d bytes at the end", coding, got)
		}
		d.Close(func([]byte) {})
	}
}
