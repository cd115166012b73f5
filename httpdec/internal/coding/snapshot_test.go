package coding

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"clipper/httpdec/internal/snapshot"
)

// restart makes a decoder of the snapshot of another one.
func restart(t testing.TB, d Decoder) Decoder {
	w := snapshot.Append(nil)
	Snapshot(w, &d)
	r := snapshot.Read(w.Written())
	var again Decoder
	if Snapshot(r, &again); r.Done() != nil {
		t.Fatal(r.Done())
	}
	w2 := snapshot.Append(nil)
	if Snapshot(w2, &again); !bytes.Equal(w.Written(), w2.Written()) {
		t.Fatal("the snapshot of what was restored is another one")
	}
	return again
}

// TestSnapshot restarts decoders at random places; the output is the same, piece
// by piece.
func TestSnapshot(t *testing.T) {
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "huffman only", "br", "zstd", "compress", "stacked"} {
		t.Run(coding, func(t *testing.T) {
			for what, body := range samples() {
				codings := []string{name(coding)}
				var in []byte
				if coding == "stacked" {
					codings = []string{"gzip", "deflate"}
					in = encode(t, "deflate", encode(t, "gzip", body))
				} else {
					in = encode(t, coding, body)
				}
				for seed := range uint64(4) {
					rng := rand.New(rand.NewPCG(seed, 3))
					d, _ := New(codings)
					again, _ := New(codings)
					var want, got []string
					total := 0
					for rest := in; len(rest) > 0; {
						n := min(1+rng.IntN(1<<(4+2*seed*2)), len(rest))
						err := d.Write(rest[:n], func(p []byte) { want = append(want, fmt.Sprintf("%d %08x", len(p), crc32.ChecksumIEEE(p))) })
						if err == nil && rng.IntN(3) == 0 {
							again = restart(t, again)
						}
						errAgain := again.Write(rest[:n], func(p []byte) { got = append(got, fmt.Sprintf("%d %08x", len(p), crc32.ChecksumIEEE(p))) })
						if errors.Is(errAgain, ErrRestart) && total > MaxReplay-n {
							want, got = nil, nil
							break
						}
						if err != errAgain {
							t.Fatalf("%s: %v, want %v", what, errAgain, err)
						}
						rest = rest[n:]
						total += n
						if len(want) > 2000 { // the test is about restarts
							if fmt.Sprint(got) != fmt.Sprint(want) {
								t.Fatalf("%s: other output after a restart", what)
							}
							want, got = nil, nil
						}
						if seed < 3 && total > 2000<<(2*seed) {
							break
						}
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("%s: other output after a restart", what)
					}
					d.Close(func([]byte) {})
					again.Close(func([]byte) {})
				}
			}
		})
	}
}

func FuzzRestore(f *testing.F) {
	for _, c := range []string{"gzip", "deflate", "br", "zstd"} {
		d, _ := New([]string{c})
		in := encode(f, c, samples()["text"][:5000])
		if err := d.Write(in[:len(in)/2], func([]byte) {}); err != nil {
			f.Fatal(err)
		}
		w := snapshot.Append(nil)
		Snapshot(w, &d)
		f.Add(w.Written(), in[len(in)/2:])
	}
	f.Fuzz(func(t *testing.T, b, in []byte) {
		r := snapshot.Read(b)
		var d Decoder
		Snapshot(r, &d)
		if r.Done() == nil && d != nil {
			d.Write(in, func([]byte) {})
			d.Close(func([]byte) {})
		}
	})
}
