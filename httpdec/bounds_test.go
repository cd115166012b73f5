package httpdec

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	brotlilib "github.com/andybalholm/brotli"

	"clipper/bus"
)

// TestBounds sends more than a decoder may keep, and watches what it keeps.
func TestBounds(t *testing.T) {
	if n := unsafe.Sizeof(stream2{}); n > 2<<10 {
		t.Errorf("an idle HTTP/2 stream takes %d bytes", n)
	}
	bomb := func(w func(*bytes.Buffer) interface {
		Write([]byte) (int, error)
		Close() error
	}) []byte {
		var b bytes.Buffer
		z := w(&b)
		for range 512 {
			z.Write(make([]byte, 1<<20))
		}
		z.Close()
		return b.Bytes()
	}
	type closer = interface {
		Write([]byte) (int, error)
		Close() error
	}
	block := make([]byte, 16<<10)
	for name, c := range map[string]struct {
		open  string
		feed  func(s *script, flush func())
		limit uint64 // bytes of the heap, while the connection is open
		want  []string
	}{
		"200 MiB body": {"open", func(s *script, flush func()) {
			s.line("> GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
			s.line(fmt.Sprintf("< HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n", 200<<20))
			for range 200 << 20 / len(block) {
				s.bytes(1, block)
				flush()
			}
		}, 1 << 20, []string{`"end":{"wire":209715200,"decoded":209715200}`}},
		"gzip bomb": {"open", func(s *script, flush func()) {
			s.line("> GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
			z := bomb(func(b *bytes.Buffer) closer { return gzip.NewWriter(b) })
			s.line(fmt.Sprintf("< HTTP/1.1 200 OK\\r\\nContent-Encoding: gzip\\r\\nContent-Length: %d\\r\\n\\r\\n", len(z)))
			for len(z) > 0 {
				n := min(len(z), len(block))
				s.bytes(1, z[:n])
				z = z[n:]
				flush()
			}
		}, 1 << 20, []string{"decoding stopped"}},
		"brotli bomb": {"open", func(s *script, flush func()) {
			s.line("> GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
			z := bomb(func(b *bytes.Buffer) closer { return brotlilib.NewWriterLevel(b, 2) })
			s.line(fmt.Sprintf("< HTTP/1.1 200 OK\\r\\nContent-Encoding: br\\r\\nContent-Length: %d\\r\\n\\r\\n", len(z)))
			s.bytes(1, z)
			flush()
		}, 12 << 20, []string{"decoding stopped"}},
		"many large windows": {"open\ntls h2\n>> preface", func(s *script, flush func()) {
			header := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3} // a window of 8 MiB
			raw := append(header, 8, 0, 0, 'x')                  // and a block of one byte
			for i := range 40 {
				id := 2*i + 1
				s.line(fmt.Sprintf(">> headers %d end :method=GET :scheme=https :authority=a :path=/", id))
				s.line(fmt.Sprintf("<< headers %d :status=200 content-encoding=zstd", id))
				s.bytes(1, append([]byte{0, 0, byte(len(raw)), 0, 0, 0, 0, 0, byte(id)}, raw...))
				flush()
			}
			for i := range 40 {
				s.line(fmt.Sprintf("<< data %d end", 2*i+1))
			}
		}, 100 << 20, []string{"windows of more than 64 MiB"}},
		"head without end": {"open", func(s *script, flush func()) {
			s.line("> GET / HTTP/1.1\\r\\n")
			for range 1000 {
				s.bytes(0, []byte("X: "+strings.Repeat("x", 16<<10)+"\r\n"))
				flush()
			}
		}, 1 << 20, []string{"head of more than 256 KiB"}},
		"100,000 headers": {"open\ntls h2\n>> preface", func(s *script, flush func()) {
			var many []string
			for i := range 5 {
				many = append(many, fmt.Sprintf("x-header-%d=%s", i, strings.Repeat("v", 50)))
			}
			s.line(">> headers 1 split :method=GET :scheme=https :authority=a :path=/ " + strings.Join(many, " "))
			last := s.records[len(s.records)-1].Payload
			last = bytes.Clone(last)
			for i := 0; i < len(last); { // open the field block again
				n := int(last[i])<<16 | int(last[i+1])<<8 | int(last[i+2])
				last[i+4] &^= 4
				i += 9 + n
			}
			s.records[len(s.records)-1].Payload = last
			for range 20_000 {
				s.bytes(0, append([]byte{0, 0, 5, 9, 0, 0, 0, 0, 1}, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2)) // CONTINUATION with five fields of the table
				flush()
			}
			s.bytes(0, []byte{0, 0, 0, 9, 4, 0, 0, 0, 1})
			s.line(">> data 1 end x")
		}, 2 << 20, []string{"field section of more than 256 KiB"}},
		"10,000 streams": {"open\ntls h2\n>> preface", func(s *script, flush func()) {
			for i := range 10_000 {
				s.line(fmt.Sprintf(">> headers %d :method=POST :scheme=https :authority=a :path=/", 2*i+1))
				flush()
			}
		}, 20 << 20, []string{`"stream":19999`}},
		"streams without end": {"open\ntls h2\n>> preface", func(s *script, flush func()) {
			for i := range MaxStreams + 100 {
				s.line(fmt.Sprintf(">> headers %d :method=POST :scheme=https :authority=a :path=/", 2*i+1))
				flush()
			}
		}, 32 << 20, []string{"more than 16384 streams"}},
		"requests without responses": {"open", func(s *script, flush func()) {
			for range 20 * MaxPipelined {
				s.line("> GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
				flush()
			}
		}, 4 << 20, []string{"more than 1024 requests"}},
		"responses without requests": {"open", func(s *script, flush func()) {
			for range 10_000 {
				s.line("< HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
				flush()
			}
		}, 1 << 20, []string{"response without a request"}},
		"bytes of nothing": {"open", func(s *script, flush func()) {
			for range 2000 {
				s.bytes(1, block)
				flush()
			}
		}, 1 << 20, []string{"not HTTP"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{t: t, time: scriptStart}
			for line := range strings.Lines(c.open) {
				s.line(strings.TrimSuffix(line, "\n"))
			}
			d := New()
			missing := append([]string(nil), c.want...)
			emit := func(r *bus.Record) {
				if r.Layer != bus.HTTP || len(missing) == 0 {
					return
				}
				if line := show(r); strings.Contains(line, missing[0]) {
					missing = missing[1:]
				}
			}
			flush := func() {
				for i := range s.records {
					d.Process(&s.records[i], emit)
				}
				clear(s.records)
				s.records = s.records[:0]
			}
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			c.feed(s, flush)
			flush()
			if after := heap(); after > before && after-before > c.limit {
				t.Errorf("%d KiB are kept", (after-before)>>10)
			} else {
				t.Logf("%d KiB are kept", int64(after-before)>>10)
			}
			d.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
			if len(missing) > 0 {
				t.Errorf("not told: %s", missing[0])
			}
			runtime.KeepAlive(d)
		})
	}
}
