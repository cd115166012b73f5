package tlsdec

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"clipper/bus"
)

// same reports whether everything passed through as it was.
func passedThrough(t *testing.T, o *output, in []bus.Record) {
	t.Helper()
	var want output
	for i := range in {
		r := in[i]
		r.Layer = bus.Plain
		want.take(&r)
	}
	got := o.lines[:len(o.lines)-1] // without EOS
	if !slices.Equal(got, want.lines) {
		t.Error(firstDifference(got, want.lines))
	}
}

func TestClearPassesThrough(t *testing.T) {
	hello := goTrace(t, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(1, 1), down: text(1, 1)}).records[2].Payload
	if probeClientHello(hello) != yes {
		t.Fatal("no ClientHello")
	}
	cases := map[string]func(r *recorder){
		"nothing": func(r *recorder) {},
		"http": func(r *recorder) {
			r.data(0, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			r.data(1, []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		},
		"server first": func(r *recorder) {
			r.data(1, []byte("220 mail ESMTP\r\n"))
			r.data(0, []byte("EHLO x\r\n"))
		},
		"begins like TLS": func(r *recorder) {
			r.data(0, []byte{0x16})
			r.data(0, []byte{0x03, 0x01})
			r.data(0, []byte("hello"))
			r.data(0, []byte{0x16, 0x03})
		},
		"prefix of a ClientHello, then the server": func(r *recorder) {
			r.data(0, hello[:20])
			r.data(0, hello[20:21])
		},
		"reset": func(r *recorder) {
			r.data(0, hello[:3])
			r.add(bus.Record{Type: bus.Reset, Dir: bus.ServerToClient})
		},
		"gap": func(r *recorder) {
			r.data(0, hello[:3])
			r.add(bus.Record{Type: bus.Gap, Dir: bus.ClientToServer, Offset: 3, Aux: 100})
			r.offset[0] += 100
			r.data(0, []byte("more"))
		},
		"server like TLS": func(r *recorder) {
			r.data(0, []byte("what?"))
			r.data(1, []byte{0x16, 3, 3, 0, 40, 2, 0, 0, 36, 3, 3})
		},
	}
	for name, say := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRecorder()
			say(r)
			tr := r.end()
			o := decode(t, tr)
			passedThrough(t, o, tr.records)
		})
	}
	for n := 1; n < probeLen; n++ {
		r := newRecorder()
		r.data(0, hello[:n])
		tr := r.end()
		passedThrough(t, decode(t, tr), tr.records)
	}
}

// TestLateStart: TLS inside a connection that began without it.
func TestLateStart(t *testing.T) {
	dialogues := map[string][]string{ // client and server in turn
		"http connect": {"CONNECT example.test:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"},
		"smtp":         {"", "220 mail\r\n", "EHLO x\r\n", "250-mail\r\n250 STARTTLS\r\n", "STARTTLS\r\n", "220 go\r\n"},
		"postgresql":   {"\x00\x00\x00\x08\x04\xd2\x16\x2f", "S"},
		"imap":         {"", "* OK\r\n", "a STARTTLS\r\n", "a OK\r\n"},
		"mysql":        {"", "J\x00\x00\x00\n8.0.32\x00greeting", "\x20\x00\x00\x01\x85\xae\xff\x19\x00\x00\x00\x01\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"ldap":         {"0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.20037", "0\x0c\x02\x01\x01x\x07\n\x01\x00\x04\x00\x04\x00"},
	}
	for name, lines := range dialogues {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("%s %s", name, versionName(version)), func(t *testing.T) {
				r := newRecorder()
				for i, l := range lines {
					if l != "" {
						r.data(bus.Dir(i%2), []byte(l))
						r.trace.sent[i%2] = append(r.trace.sent[i%2], l...)
					}
				}
				goTalk(t, r, talk{client: &tls.Config{MaxVersion: version}, server: &tls.Config{}, up: text(2000, 1), down: text(30000, 2)})
				tr := r.end()
				o := decode(t, tr)
				o.wantPlain(t, tr)
				if o.info == nil || o.info.SNI != "example.test" || len(o.verdicts) > 0 {
					t.Errorf("%+v %+v", o.info, o.verdicts)
				}
				f := newFeeder()
				f.tcp(tr.records...)
				f.keys(tr.secrets...)
				f.eos(bus.Keys, bus.TCP, bus.UDP)
				f.check(t)
				f.out.wantPlain(t, tr)
				for _, size := range []int{1, 3, 7, 50, 5000} {
					rs := rechunk(joined(tr.records), func() int { return size })
					decode(t, &trace{records: rs, secrets: tr.secrets}).wantPlain(t, tr)
				}
			})
		}
	}
}

func TestServerDoesNotSpeakTLS(t *testing.T) {
	tr := goTrace(t, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(1, 1), down: text(1, 1)})
	r := newRecorder()
	r.data(0, tr.records[2].Payload)
	answer := "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
	r.data(1, []byte(answer))
	o := decode(t, r.end())
	if string(o.plain[1]) != answer || len(o.verdicts) != 1 || o.verdicts[0].Code != bus.VerdictHandshake || o.info.SNI != "example.test" {
		t.Errorf("%q %+v %+v", o.plain[1], o.verdicts, o.info)
	}
}

// TestMidConnection: the capture began after the handshake, or lost it.
func TestMidConnection(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tr := goTrace(t, talk{client: &tls.Config{MaxVersion: version}, server: &tls.Config{}, up: text(3000, 1), down: text(50000, 2)})
		var data []int
		for i, r := range tr.records {
			if r.Type == bus.Data {
				data = append(data, i)
			}
		}
		payload, _ := json.Marshal(bus.ConnOpen{Partial: true})
		for skip := 1; skip < len(data); skip++ {
			rs := slices.Clone(tr.records)
			rs[0].Payload = payload
			rs = slices.Delete(rs, 1, data[skip])
			o := decode(t, &trace{records: rs, secrets: tr.secrets})
			if len(o.plain[0])+len(o.plain[1]) > 0 || len(o.verdicts) != 1 || o.verdicts[0].Code != bus.VerdictMidstream {
				t.Errorf("%s without %d records: %d bytes, %+v", versionName(version), skip, len(o.plain[0])+len(o.plain[1]), o.verdicts)
			}
			if !o.ended || !o.fin[0] || !o.fin[1] {
				t.Error("not ended")
			}
		}
	}
}

// TestNoSecret: the preliminary verdict comes after 3 s of the connection's own time, or at its end, and once.
func TestNoSecret(t *testing.T) {
	for name, tr := range traces(t) {
		f := newFeeder()
		f.tcp(tr.records[:len(tr.records)-3]...)
		if len(f.out.doubts) > 0 {
			t.Errorf("%s: %+v at once", name, f.out.doubts)
		}
		for _, seconds := range []int64{1, 4, 5, 20} {
			r := bus.Record{Layer: bus.TCP, Type: bus.Data, Conn: traceConn, Time: seconds * 1e9, Payload: []byte{23}}
			f.tcp(r)
			if n := len(f.out.doubts); (n > 0) != (seconds > 3) || n > 1 {
				t.Errorf("%s: %d verdicts after %d s", name, n, seconds)
			}
		}
		if v := f.out.doubts[0]; v.Code != bus.VerdictNoSecret || !bytes.Contains([]byte(v.Reason), []byte("example.test")) || v.Help == "" {
			t.Errorf("%+v", v)
		}
		f = newFeeder()
		f.tcp(tr.records...)
		if len(f.out.doubts) != 1 || len(f.out.verdicts) != 0 || f.out.ended {
			t.Errorf("%s: preliminary %+v, final %+v, ended %v", name, f.out.doubts, f.out.verdicts, f.out.ended)
		}
		if f.out.info == nil || f.out.info.SNI != "example.test" || f.out.info.Cipher == "" {
			t.Errorf("%s: no facts", name)
		}
		f.eos(bus.Keys)
		if len(f.out.doubts) != 1 || len(f.out.verdicts) != 1 || !f.out.ended {
			t.Errorf("%s: verdicts %+v, ended %v", name, f.out.verdicts, f.out.ended)
		}
	}
}

// TestLimits: what waits is bounded; the oldest are given up first.
func TestLimits(t *testing.T) {
	tr := goTrace(t, talk{client: &tls.Config{}, server: &tls.Config{}, up: text(500, 1), down: text(100000, 2)})
	f := &feeder{d: NewWithLimits(Limits{Connection: 20000})}
	f.tcp(tr.records...)
	f.keys(tr.secrets...)
	f.eos(bus.Keys, bus.TCP, bus.UDP)
	f.check(t)
	if len(f.out.plain[1]) > 0 || len(f.out.verdicts) != 1 || f.out.verdicts[0].Code != bus.VerdictNoSecret || !f.out.ended {
		t.Errorf("%d bytes, %+v", len(f.out.plain[1]), f.out.verdicts)
	}
	const n, total = 50, 300000
	f = &feeder{d: NewWithLimits(Limits{Total: total})}
	for id := range n {
		f.tcp(renamed(tr.records, bus.ConnID(id+1))...)
		if held := f.d.(*decoder).held; held > total {
			t.Fatalf("%d bytes held", held)
		}
	}
	f.keys(tr.secrets...)
	f.eos(bus.Keys, bus.TCP, bus.UDP)
	f.out.problem = ""
	f.check(t)
	for id := range n {
		o := f.out.only(bus.ConnID(id + 1))
		if read := len(o.plain[1]) == 100000; read != (id >= n-2) || !o.ended || (len(o.verdicts) == 0) != read {
			t.Errorf("connection %d: %d bytes, %+v", id, len(o.plain[1]), o.verdicts)
		}
	}
	s := newSecrets(10)
	for i := range 1000 {
		for j := range 10 {
			s.add(&bus.TLSSecret{Label: "CLIENT_RANDOM", ClientRandom: []byte{byte(i), byte(i >> 8)}, Secret: []byte{byte(j)}})
		}
	}
	if len(s.byKey) != 10 || len(s.recent) != 10 || len(s.recent[0].lines) != maxLines {
		t.Errorf("%d keys", len(s.byKey))
	}
}
