package har_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/httpdec"
	"clipper/httpdec/bodystore"
	"clipper/httpdec/exchange"
	"clipper/httpdec/har"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const start = 1_700_000_000_000_000_000

// conversation is a connection of two exchanges, a refused one and an opaque one.
func conversation() []bus.Record {
	var list []bus.Record
	add := func(ms int64, r bus.Record) {
		r.Layer, r.Time = bus.Plain, start+ms*1_000_000
		list = append(list, r)
	}
	j := func(v any) []byte {
		b, _ := json.Marshal(v)
		return b
	}
	open := func(port uint16) []byte {
		return j(bus.ConnOpen{Flow: bus.Flow{Transport: "tcp",
			Client: netip.AddrPortFrom(netip.MustParseAddr("10.0.2.100"), port), Server: netip.MustParseAddrPort("192.0.2.1:443")}})
	}
	add(0, bus.Record{Type: bus.Open, Conn: 1, Payload: open(40001)})
	add(10, bus.Record{Type: bus.Established, Conn: 1})
	add(30, bus.Record{Type: bus.Info, Conn: 1, Payload: j(bus.TLSInfo{Version: "TLS 1.3", ALPN: "http/1.1", SNI: "a.test", PID: 7,
		Started: start + 11_000_000, Finished: start + 30_000_000})})
	data := func(ms int64, dir bus.Dir, s string) {
		add(ms, bus.Record{Type: bus.Data, Conn: 1, Dir: dir, Payload: []byte(s)})
	}
	data(31, 0, "POST /form?q=a%20b&q=c+d HTTP/1.1\r\nHost: a.test\r\nCookie: sid=1; t=\"x y\"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n")
	data(32, 0, "x=1&y=2")
	data(50, 1, "HTTP/1.1 302 Found\r\nLocation: /n\r\nSet-Cookie: a=b; Path=/; HttpOnly; SameSite=Lax\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 20\r\n\r\n")
	data(60, 1, "q\"\\\n\x01\x7f\u00e9\u2028</script>")
	data(70, 0, "GET /binary HTTP/1.1\r\nHost: a.test\r\n\r\n")
	data(80, 1, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\n\x89PNG\x00\xff")
	add(90, bus.Record{Type: bus.Reset, Conn: 1, Dir: 1})
	add(90, bus.Record{Type: bus.End, Conn: 1, Payload: j(bus.ConnEnd{Reason: bus.EndReset})})
	add(91, bus.Record{Type: bus.Open, Conn: 2, Payload: open(40002)})
	add(92, bus.Record{Type: bus.End, Conn: 2, Payload: j(bus.ConnEnd{Reason: bus.EndRefused})})
	add(93, bus.Record{Type: bus.Open, Conn: 3, Payload: open(40003)})
	add(94, bus.Record{Type: bus.Opaque, Conn: 3, Payload: j(bus.Verdict{Code: bus.VerdictNoSecret, Reason: "no secret came", Help: "run it under clipper up"})})
	add(95, bus.Record{Type: bus.EOS})
	return list
}

// write decodes records into a HAR file and JSON lines. check is called after
// each entry.
func write(t *testing.T, records []bus.Record, check func(file []byte)) (file, lines []byte) {
	dir := t.TempDir()
	store, err := bodystore.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	f, err := os.Create(filepath.Join(dir, "x.har"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := har.NewWriter(f, store, har.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	read := func() []byte {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var json bytes.Buffer
	lineWriter := har.NewLineWriter(&json, store, har.Options{})
	fold := exchange.New(exchange.Handler{
		Exchange: func(x *exchange.Exchange) {
			store.Await(x.Conn, x.Stream, x.Decoded, func() {
				if err := w.Exchange(x); err != nil {
					t.Error(err)
				}
				if err := lineWriter.Exchange(x); err != nil {
					t.Error(err)
				}
				store.Forget(x.Conn, x.Stream)
				check(read())
			})
		},
		Verdict: func(v *exchange.Verdict) {
			if err := w.Verdict(v); err != nil {
				t.Error(err)
			}
		},
	})
	fold.Proc(&bus.ProcEvent{Type: bus.ProcExec, PID: 7, Exe: "/usr/bin/curl", Argv: []string{"curl", "-d", "x=1&y=2", "https://a.test/form"}})
	s := httpdec.New()
	for i := range records {
		s.Process(&records[i], func(r *bus.Record) {
			if r.Layer == bus.Body {
				if err := store.Add(r); err != nil {
					t.Error(err)
				}
				return
			}
			fold.Event(r.Event.(*bus.Event))
		})
	}
	fold.Close()
	store.Flush()
	return read(), json.Bytes()
}

func TestFile(t *testing.T) {
	n := 0
	file, lines := write(t, conversation(), func(b []byte) {
		n++
		var f har.File
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatalf("after %d entries the file is not JSON: %v", n, err)
		}
		if len(f.Log.Entries) != n {
			t.Errorf("%d entries, want %d", len(f.Log.Entries), n)
		}
	})
	har.Valid(t, file)
	if problems := har.Check(file); len(problems) > 0 {
		t.Errorf("not valid HAR:\n%s", strings.Join(problems, "\n"))
	}
	name := "testdata/conversation.har"
	if *update {
		if err := os.WriteFile(name, file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, want) {
		t.Errorf("differs from %s (-update rewrites it):\n%s", name, file)
	}
	var entries []*har.Entry
	log, err := har.Read(bytes.NewReader(file), func(e *har.Entry) error { entries = append(entries, e); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || len(log.Verdicts) != 2 || log.Version != "1.2" {
		t.Fatalf("read %d entries and %d verdicts of version %q", len(entries), len(log.Verdicts), log.Version)
	}
	body, err := entries[0].Response.Content.Bytes()
	if err != nil || string(body) != "q\"\\\n\x01\x7f\u00e9\u2028</script>" {
		t.Errorf("text body reads as %q, %v", body, err)
	}
	body, err = entries[1].Response.Content.Bytes()
	if err != nil || string(body) != "\x89PNG\x00\xff" {
		t.Errorf("binary body reads as %q, %v", body, err)
	}
	var fromLines []byte
	for line := range bytes.Lines(lines) {
		fromLines = fmt.Appendf(fromLines, "%s", line)
		if !json.Valid(line) {
			t.Errorf("line is not JSON: %s", line)
		}
		if !bytes.Contains(file, bytes.TrimSpace(line)) {
			t.Errorf("line is not the entry of the file: %s", line)
		}
	}
}

func TestReadCut(t *testing.T) {
	file, _ := write(t, conversation(), func([]byte) {})
	for n := range len(file) - 2 {
		if _, err := har.Read(bytes.NewReader(file[:n]), func(*har.Entry) error { return nil }); err == nil {
			t.Fatalf("the first %d bytes of %d read without error", n, len(file))
		}
	}
}
