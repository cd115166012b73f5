package har_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
)

// bodies gives every exchange the same response body.
type bodies struct {
	text string
	n    int
}

func (b bodies) Body(_ bus.ConnID, _ uint64, dir bus.Dir) (io.ReadCloser, uint64, error) {
	if dir == bus.ClientToServer {
		return io.NopCloser(strings.NewReader("")), 0, nil
	}
	return io.NopCloser(io.LimitReader(&repeat{text: b.text}, int64(b.n*len(b.text)))), uint64(b.n * len(b.text)), nil
}

type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func answered(stream uint64, size uint64) *exchange.Exchange {
	return &exchange.Exchange{Conn: 1, Stream: stream, RequestTime: start, RequestEnded: start, ResponseTime: start, ResponseEnded: start,
		Request: &bus.Request{Method: "GET", URL: "https://a.test/"}, Response: &bus.Response{Status: 200, Headers: []bus.Field{}},
		Decoded: [2]uint64{0, size}, Wire: [2]uint64{0, size}}
}

// TestLargeBody writes bodies of 64 MiB, as text with characters that fall on the
// ends of buffers and as base64: nearly nothing of them is in memory.
func TestLargeBody(t *testing.T) {
	for _, text := range []string{"0123456789é\n", "0123456789\xff"} {
		f, err := os.Create(filepath.Join(t.TempDir(), "x.har"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n := 64 << 20 / len(text)
		w, err := har.NewWriter(f, bodies{text, n}, har.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := w.Exchange(answered(1, uint64(n*len(text)))); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%d KiB were allocated for a body of 64 MiB", used>>10)
		}
		f.Seek(0, io.SeekStart)
		_, err = har.Read(f, func(e *har.Entry) error {
			b, err := e.Response.Content.Bytes()
			if err != nil || !bytes.Equal(b, bytes.Repeat([]byte(text), n)) {
				t.Errorf("reads back as %d bytes, %v", len(b), err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestManyVerdicts(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x.har"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := har.NewWriter(f, nil, har.Options{})
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(conn int, reason string) {
		if err := w.Verdict(&exchange.Verdict{Conn: bus.ConnID(conn), Verdict: bus.Verdict{Code: "x", Reason: reason}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range har.MaxVerdicts + 5 {
		verdict(i, fmt.Sprint("a long reason ", i))
	}
	verdict(0, "short") // replaces; the file becomes shorter
	if err := w.Exchange(answered(1, 0)); err != nil {
		t.Fatal(err)
	}
	f.Seek(0, io.SeekStart)
	n := 0
	log, err := har.Read(f, func(*har.Entry) error { n++; return nil })
	if err != nil || n != 1 || len(log.Verdicts) != har.MaxVerdicts || log.VerdictsTotal != har.MaxVerdicts+5 || log.Verdicts[0].Reason != "short" {
		t.Errorf("%v, %d entries, %d verdicts of %d", err, n, len(log.Verdicts), log.VerdictsTotal)
	}
}

// failing is a full disk.
type failing struct {
	*os.File
	left int
}

func (f *failing) WriteAt(p []byte, at int64) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, fmt.Errorf("disk full")
	}
	return f.File.WriteAt(p, at)
}

func TestFullDisk(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "x.har"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := &failing{file, 3000}
	w, err := har.NewWriter(f, nil, har.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for err == nil {
		if err = w.Exchange(answered(uint64(n), 0)); err == nil {
			n++
		}
	}
	if err2 := w.Exchange(answered(1, 0)); err2 == nil {
		t.Error("no error after an error")
	}
	file.Seek(0, io.SeekStart)
	got := 0
	if _, err := har.Read(file, func(*har.Entry) error { got++; return nil }); err != nil || got < n {
		t.Errorf("after %q, %d of %d entries read, %v", err, got, n, err)
	}
}

// smallDisk has room for some bytes only; a write is cut at its end.
type smallDisk struct {
	*os.File
	size int64
}

func (d *smallDisk) WriteAt(p []byte, at int64) (int, error) {
	fits := max(0, min(int64(len(p)), d.size-at))
	n, err := d.File.WriteAt(p[:fits], at)
	if err == nil && n < len(p) {
		err = fmt.Errorf("disk full")
	}
	return n, err
}

// TestCutEntry: what was written of an entry is taken back when it has no room.
func TestCutEntry(t *testing.T) {
	for _, size := range []int64{100_000, 300_000, 301_000} {
		file, err := os.Create(filepath.Join(t.TempDir(), "x.har"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		w, err := har.NewWriter(&smallDisk{file, size}, bodies{"0123456789", 15_000}, har.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = w.Exchange(answered(1, 150_000))
		}
		if b, _ := os.ReadFile(file.Name()); !json.Valid(b) {
			t.Errorf("after %q, the file is not JSON: … %.100q", err, b[max(0, len(b)-100):])
		}
	}
}

func BenchmarkVerdicts(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "x.har"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := har.NewWriter(f, nil, har.Options{})
	if err != nil {
		b.Fatal(err)
	}
	conn := bus.ConnID(0)
	for b.Loop() {
		conn++
		if err := w.Verdict(&exchange.Verdict{Conn: conn, Verdict: bus.Verdict{Code: "x", Reason: strings.Repeat("because ", 10)}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntries(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "x.har"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := har.NewWriter(f, bodies{"some text\n", 100}, har.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Exchange(answered(1, 1000)); err != nil {
			b.Fatal(err)
		}
	}
}
