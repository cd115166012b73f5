package tlsdec

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
)

// samples are the handshake messages of RFC 8448's first trace, by type, without headers.
func samples(t testing.TB) map[uint8][]byte {
	b, err := os.ReadFile(filepath.Join("testdata", "rfc8448", "simple-1rtt.txt"))
	if err != nil {
		t.Fatal(err)
	}
	m := map[uint8][]byte{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if (f[0] == "client" || f[0] == "server") && strings.HasPrefix(f[1], "16") {
			typ, body, _, err := parseHandshake(unhex(t, f[1])[recordHeaderLen:])
			if err != nil {
				t.Fatal(err)
			}
			m[typ] = body
		}
	}
	m[msgEncryptedExtensions] = unhex(t, "0022000a00140012001d00170018001901000101010201030104001c0002400100000000")
	m[msgCertificate] = unhex(t, "000000080000030102030000")
	m[msgCompressedCertificate] = unhex(t, "000100000c00000d789c6360606060606664620600003800c7")
	return m
}

// TestPrefixes: no parser accepts or fails over a proper prefix of something valid.
func TestPrefixes(t *testing.T) {
	m := samples(t)
	refuses := map[string]func(b []byte) error{
		"client hello": func(b []byte) error { _, err := parseClientHello(b); return err },
		"server hello": func(b []byte) error { _, err := parseServerHello(b); return err },
		"extensions":   func(b []byte) error { _, err := parseEncryptedExtensions(b); return err },
		"certificate":  func(b []byte) error { _, err := parseCertificate(b, true); return err },
		"SSL 2 hello":  func(b []byte) error { _, err := parseClientHelloV2(b); return err },
	}
	bodies := map[string][]byte{"client hello": m[msgClientHello], "server hello": m[msgServerHello], "extensions": m[msgEncryptedExtensions], "certificate": m[msgCertificate], "SSL 2 hello": helloV2}
	noExtensions := map[string]int{"client hello": 2 + 32 + 1 + 2 + 6 + 2, "server hello": 2 + 32 + 1 + 2 + 1}
	for name, parse := range refuses {
		body := bodies[name]
		if err := parse(body); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range body {
			if err := parse(body[:n]); err == nil && n != noExtensions[name] {
				t.Errorf("%s: %d of %d bytes are enough", name, n, len(body))
			}
		}
	}
	header := []byte{22, 3, 1, 0, 200}
	for n := range header {
		if _, _, err := parseRecordHeader(header[:n]); err != errMore {
			t.Errorf("record header: %d bytes: %v", n, err)
		}
	}
	message := append([]byte{1, 0, 0, 5}, "hello"...)
	for n := range message {
		if _, _, _, err := parseHandshake(message[:n]); err != errMore {
			t.Errorf("handshake: %d bytes: %v", n, err)
		}
	}
}

func FuzzClientHello(f *testing.F) {
	f.Add(samples(f)[msgClientHello])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseClientHello(b); err == nil {
			if len(ja3(h)) != 32 || len(ja4(h, 't')) != 36 {
				t.Error("fingerprint of a wrong length")
			}
		}
	})
}

func FuzzClientHelloV2(f *testing.F) {
	f.Add(helloV2)
	f.Fuzz(func(t *testing.T, b []byte) {
		total, err := helloV2Len(b)
		for n := range min(len(b), helloV2Fixed) {
			if _, early := helloV2Len(b[:n]); err == nil && early != errMore {
				t.Fatalf("%d bytes of it: %v", n, early)
			}
		}
		if err == nil && total <= len(b) {
			h, err := parseClientHelloV2(b[:total])
			if err != nil {
				t.Fatal(err)
			}
			if len(ja3(h)) != 32 || len(ja4(h, 't')) != 36 {
				t.Error("fingerprint of a wrong length")
			}
		}
	})
}

// helloV2 is a ClientHello in SSL 2's format with two suites.
var helloV2 = append([]byte{0x80, 9 + 6 + 16, 1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 5, 1, 0, 0x80}, make([]byte, 16)...)

func FuzzServerKeyExchange(f *testing.F) {
	f.Add([]byte{3, 0, 29, 32}, "TLS_ECDHE_RSA_WITH_")
	f.Add([]byte{0, 2, 1, 1, 0, 1, 2, 0, 1, 1}, "TLS_DHE_PSK_WITH_")
	f.Fuzz(func(t *testing.T, b []byte, suite string) { serverKeyExchangeGroup(b, suite) })
}

// FuzzInflate: no compressed record gives more than a record may hold.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{0x4a, 0x4c, 0x4a, 0x06, 0, 0, 0, 0xff, 0xff}, []byte("abc"))
	var z inflater
	f.Fuzz(func(t *testing.T, b, window []byte) {
		if out, err := z.inflate(b, window); err == nil && len(out) > maxPlaintext {
			t.Errorf("%d bytes", len(out))
		}
	})
}

func FuzzServerHello(f *testing.F) {
	f.Add(samples(f)[msgServerHello])
	f.Fuzz(func(t *testing.T, b []byte) { parseServerHello(b) })
}

func FuzzEncryptedExtensions(f *testing.F) {
	f.Add(samples(f)[msgEncryptedExtensions])
	f.Fuzz(func(t *testing.T, b []byte) { parseEncryptedExtensions(b) })
}

func FuzzCertificate(f *testing.F) {
	f.Add(samples(f)[msgCertificate], true)
	f.Fuzz(func(t *testing.T, b []byte, tls13 bool) {
		certs, _ := parseCertificate(b, tls13)
		n := 0
		for _, c := range certs {
			n += len(c)
		}
		if n > len(b) {
			t.Error("more certificates than message")
		}
	})
}

func FuzzCompressedCertificate(f *testing.F) {
	f.Add(samples(f)[msgCompressedCertificate])
	f.Fuzz(func(t *testing.T, b []byte) { expandCertificate(b) })
}

func FuzzQUICPacket(f *testing.F) {
	f.Add(append([]byte{0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x96}, make([]byte, 1200)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseQUICLongHeader(b)
		if err != nil {
			return
		}
		if h.end <= 0 || h.end > len(b) || h.number > h.end {
			t.Fatalf("%+v of %d bytes", h, len(b))
		}
		if k := newQUICInitialKeys(quicVersion1, h.destination, 0); k != nil {
			var packet, frames []byte
			if u, err := k.unmask(&packet, b, h, 0); err == nil {
				k.open(&frames, u)
			}
		}
	})
}

func FuzzQUICFrames(f *testing.F) {
	f.Add([]byte{6, 0, 4, 1, 0, 0, 0, 2, 0x40, 1, 0, 0, 6, 5, 2, 9, 9})
	f.Add([]byte{0x0f, 4, 3, 2, 'h', 'i', 0x0a, 0, 1, 'x', 4, 8, 0x41, 0, 5, 0x1d, 0x41, 0, 3, 'b', 'y', 'e'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var q quicCrypto
		quicFrames(b, func(x quicFrame) bool {
			if len(x.data) > len(b) {
				t.Error("more than there is")
			}
			q.add(x.offset, x.data)
			return true
		})
		if got := len(q.take()); got > len(q.data) || len(q.data) > maxQUICCrypto || len(q.take()) > 0 {
			t.Error("more than there is")
		}
		for i, h := range q.holes {
			if h.from >= h.to || i > 0 && q.holes[i-1].to > h.from {
				t.Errorf("holes %v", q.holes)
			}
		}
	})
}

// FuzzQUICStreams: whatever the frames say, what comes out of a stream has no
// hole that is not a gap, and nothing is kept at the end.
func FuzzQUICStreams(f *testing.F) {
	f.Add([]byte{0, 0, 5, 0, 0, 9, 5, 1, 0, 5, 4, 0, 1, 3, 3, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := New().(*decoder)
		c := &conn{d: d, udp: true, quic: &quicFlow{}, tls: newSession(0)}
		next := map[[2]uint64]uint64{}
		d.emit = func(r *bus.Record) {
			at := [2]uint64{r.Stream, uint64(r.Dir)}
			switch r.Type {
			case bus.Data, bus.Gap, bus.Fin, bus.Reset:
				if r.Offset != next[at] {
					t.Fatalf("%v at %d, want %d", r.Type, r.Offset, next[at])
				}
			}
			switch r.Type {
			case bus.Data:
				for i, x := range r.Payload {
					if x != byte(r.Offset)+byte(i) {
						t.Fatal("other bytes")
					}
				}
				next[at] += uint64(len(r.Payload))
			case bus.Gap:
				next[at] += uint64(r.Aux)
			case bus.Fin, bus.Reset:
				next[at] = 1 << 63 // nothing may follow
			}
		}
		for ; len(b) >= 4; b = b[4:] {
			x := quicFrame{stream: uint64(b[0] & 15), offset: uint64(b[1]), fin: b[3]&1 != 0}
			for i := range b[2] & 31 {
				x.data = append(x.data, b[1]+i)
			}
			if dir := bus.Dir(b[0] >> 4 & 1); b[3]&0xf0 == 0xf0 {
				c.resetStream(dir, x, 0)
			} else {
				c.streamData(dir, x, 0)
			}
		}
		c.endStreams()
		if q := &c.quic.streams; c.held != 0 || q.pending != 0 || q.segments != 0 {
			t.Errorf("%d bytes held, %d pending in %d segments", c.held, q.pending, q.segments)
		}
	})
}

// FuzzDecoder plays a script: byte pairs of what to do and how much, the bytes from
// the recorded connection or from the script itself.
func FuzzDecoder(f *testing.F) {
	var traces []*trace
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS12, tls.VersionTLS13} {
		traces = append(traces, goTrace(f, talk{client: &tls.Config{MinVersion: v, MaxVersion: v}, server: &tls.Config{MinVersion: v}, up: text(300, 1), down: text(3000, 2)}))
	}
	f.Add([]byte{2, 0, 255, 1, 255, 3, 0, 0, 255, 1, 255, 0, 255, 1, 255})
	f.Add([]byte{1, 3, 0, 0, 255, 1, 255, 5, 3, 1, 200, 0, 100, 7, 0})
	f.Add(append([]byte{0, 4, 200}, "\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03 something else"...))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 1 {
			return
		}
		tr := traces[int(script[0])%len(traces)]
		var stream [2][]byte
		for _, r := range tr.records {
			if r.Type == bus.Data {
				stream[r.Dir] = append(stream[r.Dir], r.Payload...)
			}
		}
		fd := &feeder{d: NewWithLimits(Limits{Connection: 5000, Total: 8000, Secrets: 4})}
		payload, _ := json.Marshal(bus.ConnOpen{Partial: script[0]&0x80 != 0})
		fd.tcp(bus.Record{Layer: bus.TCP, Type: bus.Open, Conn: 1, Payload: payload})
		var off [2]uint64
		var closed [2]bool
		changed := false
		secrets := tr.secrets
		now := int64(0)
		for script = script[1:]; len(script) >= 2; {
			op, n := script[0], int(script[1])*4
			script = script[2:]
			now += 1e8
			d := bus.Dir(op & 1)
			if closed[d] && op%16/2 != 1 { // nothing follows a Fin
				continue
			}
			r := bus.Record{Layer: bus.TCP, Type: bus.Data, Conn: 1, Dir: d, Offset: off[d], Time: now}
			switch op % 16 / 2 {
			case 0, 5, 6: // real bytes
				n = min(n, len(stream[d]))
				r.Payload, stream[d] = stream[d][:n], stream[d][n:]
			case 1: // secrets
				k := min(len(secrets), n/4+1)
				fd.keys(secrets[:k]...)
				secrets = secrets[k:]
				continue
			case 2: // other bytes
				n = min(n, len(script))
				r.Payload, script = script[:n], script[n:]
				changed = true
			case 3: // loss
				n = min(n, len(stream[d]))
				stream[d] = stream[d][n:]
				r.Type, r.Aux = bus.Gap, uint32(n)
				changed = true
			case 4:
				r.Type, n, closed[d] = bus.Fin, 0, true
			case 7:
				r.Type, n = bus.Reset, 0
			}
			off[d] += uint64(n)
			fd.tcp(r)
		}
		fd.eos(bus.TCP, bus.UDP, bus.Keys)
		fd.out.problem = ""
		fd.check(t)
		if !changed && fd.out.info != nil {
			for d := range fd.out.plain {
				if !bytes.HasPrefix(tr.sent[d], fd.out.plain[d]) {
					t.Errorf("direction %d: wrong plaintext: %x for %x; %+v", d, fd.out.plain[d], tr.sent[d][:min(40, len(tr.sent[d]))], fd.out.verdicts)
				}
			}
		}
	})
}
