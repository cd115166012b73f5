package tlsdec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"testing"

	"clipper/bus"
)

// BenchmarkGCM is Go's own rate on a record of 16 KiB, to compare with.
func BenchmarkGCM(b *testing.B) {
	block, _ := aes.NewCipher(make([]byte, 16))
	a, _ := cipher.NewGCM(block)
	nonce, aad := make([]byte, 12), make([]byte, 5)
	sealed := a.Seal(nil, nonce, make([]byte, maxPlaintext), aad)
	dst := make([]byte, 0, len(sealed))
	b.SetBytes(maxPlaintext)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Open(dst, nonce, sealed, aad); err != nil {
			b.Fatal(err)
		}
	}
}

// bulk is the application data of a trace whose server sends 4 MiB, in chunks
// of size bytes, behind a handshake.
func bulk(b *testing.B, version uint16, size int) (handshake, data *trace) {
	c := &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, DynamicRecordSizingDisabled: true}
	tr := goTrace(b, talk{client: c, server: c.Clone(), up: text(100, 1), down: text(4<<20, 2)})
	rs := rechunk(joined(tr.records), func() int { return size })
	for i, r := range rs {
		if r.Type == bus.Data && r.Dir == bus.ServerToClient && r.Offset > 20000 {
			end := len(rs)
			for rs[end-1].Type != bus.Data || rs[end-1].Dir != bus.ServerToClient {
				end--
			}
			return &trace{records: rs[:i], secrets: tr.secrets}, &trace{records: rs[i : end-1]}
		}
	}
	b.Fatal("no data")
	return nil, nil
}

func benchmarkBulk(b *testing.B, version uint16, size int) {
	handshake, data := bulk(b, version, size)
	n := 0
	for _, r := range data.records {
		n += len(r.Payload)
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	got := 0
	for b.Loop() {
		b.StopTimer()
		f := newFeeder()
		f.keys(handshake.secrets...)
		f.tcp(handshake.records...)
		emit := func(r *bus.Record) { got += len(r.Payload) }
		b.StartTimer()
		for i := range data.records {
			f.d.Process(&data.records[i], emit)
		}
	}
	if got < b.N*n*9/10 {
		b.Fatalf("%d of %d bytes", got, b.N*n)
	}
}

func BenchmarkTLS13Chunks64K(b *testing.B)  { benchmarkBulk(b, tls.VersionTLS13, 64<<10) }
func BenchmarkTLS13Chunks1460(b *testing.B) { benchmarkBulk(b, tls.VersionTLS13, 1460) }
func BenchmarkTLS12Chunks64K(b *testing.B)  { benchmarkBulk(b, tls.VersionTLS12, 64<<10) }

// BenchmarkHandshake is a whole connection with little data.
func BenchmarkHandshake(b *testing.B) {
	tr := goTrace(b, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(100, 1), down: text(1000, 2)})
	d := New()
	for i := range tr.secrets {
		d.Process(bus.SecretRecord(&tr.secrets[i], 0), func(*bus.Record) {})
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range tr.records {
			d.Process(&tr.records[i], func(*bus.Record) {})
		}
	}
}

// BenchmarkClear passes through what is not TLS.
func BenchmarkClear(b *testing.B) {
	r := newRecorder()
	r.data(0, []byte("GET / HTTP/1.1\r\n\r\n"))
	d := New()
	for i := range r.trace.records {
		d.Process(&r.trace.records[i], func(*bus.Record) {})
	}
	x := bus.Record{Layer: bus.TCP, Type: bus.Data, Dir: 1, Conn: traceConn, Payload: text(1460, 65)}
	b.SetBytes(1460)
	b.ReportAllocs()
	for b.Loop() {
		d.Process(&x, func(*bus.Record) {})
		x.Offset += 1460
	}
}
