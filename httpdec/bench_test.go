package httpdec

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"clipper/bus"
)

// bench feeds one connection with the records of exchange n times and reports
// exchanges per second.
func bench(b *testing.B, open string, exchange func(s *script, i int)) {
	const rounds = 2000
	sc := &script{t: b, time: scriptStart}
	for line := range strings.Lines(open) {
		sc.line(strings.TrimSuffix(line, "\n"))
	}
	n := len(sc.records)
	for i := range rounds {
		sc.time += 1000
		exchange(sc, i)
	}
	var bytes int
	for _, r := range sc.records {
		if r.Type == bus.Data {
			bytes += len(r.Payload)
		}
	}
	b.ReportAllocs()
	events := 0
	emit := func(*bus.Record) { events++ }
	for b.Loop() {
		s := New()
		for i := range sc.records {
			s.Process(&sc.records[i], emit)
		}
		s.Process(&bus.Record{Type: bus.EOS}, emit)
	}
	_ = n
	b.ReportMetric(float64(b.N)*rounds/b.Elapsed().Seconds(), "exchanges/s")
	b.ReportMetric(float64(b.N)*float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
	b.ReportMetric(float64(events)/float64(b.N)/rounds, "records/exchange")
}

func BenchmarkHTTP1Small(b *testing.B) {
	bench(b, "open\nestablished", func(s *script, i int) {
		s.bytes(0, []byte(fmt.Sprintf("GET /items/%d HTTP/1.1\r\nHost: api.example.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n", i)))
		s.bytes(1, []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 23:00:00 GMT\r\nContent-Length: 13\r\n\r\n{\"ok\": true}\n"))
	})
}

func BenchmarkHTTP2Small(b *testing.B) {
	bench(b, "open\nestablished\ntls h2 api.example.test\n>> preface\n>> settings\n<< settings", func(s *script, i int) {
		id := fmt.Sprint(2*i + 1)
		s.line(">> headers " + id + " end :method=GET :scheme=https :authority=api.example.test :path=/items/" + id + " user-agent=curl/8.5.0 accept=*/*")
		s.line("<< headers " + id + " :status=200 content-type=application/json date=Mon,23Nov2026 content-length=13")
		s.line(`<< data ` + id + ` end {"ok":true}\n\n`)
	})
}

func BenchmarkHTTP1Bulk(b *testing.B) {
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	bench(b, "open", func(s *script, i int) {
		if i == 0 {
			s.bytes(0, []byte("GET /bulk HTTP/1.1\r\nHost: a\r\n\r\n"))
			s.bytes(1, []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 2000*len(block))))
		}
		s.bytes(1, block)
	})
}

func BenchmarkHTTP2Bulk(b *testing.B) {
	block := strings.Repeat("0123456789abcdef", 1<<10-1)
	bench(b, "open\ntls h2\n>> preface", func(s *script, i int) {
		if i == 0 {
			s.line(">> headers 1 end :method=GET :scheme=https :authority=a :path=/")
			s.line("<< headers 1 :status=200")
		}
		s.line("<< data 1 " + block)
	})
}

// BenchmarkSnapshot stores and restores a connection with 10,000 open streams.
func BenchmarkSnapshot(b *testing.B) {
	sc := &script{t: b, time: scriptStart}
	for _, line := range []string{"open", "tls h2", ">> preface"} {
		sc.line(line)
	}
	for i := range 10_000 {
		sc.line(fmt.Sprintf(">> headers %d :method=POST :scheme=https :authority=api.example.test :path=/items/%d content-type=application/grpc", 2*i+1, i))
	}
	s := New()
	for i := range sc.records {
		s.Process(&sc.records[i], func(*bus.Record) {})
	}
	var state []byte
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			state = s.(bus.Snapshotter).AppendSnapshot(state[:0])
		}
		b.ReportMetric(float64(len(state))/10_000, "bytes/stream")
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := New().(bus.Snapshotter).Restore(state, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
