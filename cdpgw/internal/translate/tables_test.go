package translate

import (
	"testing"

	"clipper/bus"
)

func TestSuite(t *testing.T) {
	for name, want := range map[string][3]string{
		"TLS_AES_128_GCM_SHA256":                {"", "AES_128_GCM", ""},
		"TLS_CHACHA20_POLY1305_SHA256":          {"", "CHACHA20_POLY1305", ""},
		"TLS_AES_128_CCM_8_SHA256":              {"", "AES_128_CCM_8", ""},
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": {"ECDHE_RSA", "AES_128_GCM", ""},
		"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA":    {"ECDHE_RSA", "AES_128_CBC", "SHA"},
		"TLS_RSA_WITH_RC4_128_MD5":              {"RSA", "RC4_128", "MD5"},
		"TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8":    {"ECDHE_ECDSA", "AES_128_CCM_8", ""},
		"":                                      {},
		"0x1301":                                {"", "0x1301", ""},
	} {
		e, c, m := suite(name)
		if got := [3]string{e, c, m}; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRedirectTarget(t *testing.T) {
	for _, c := range []struct {
		status              int
		url, location, want string
	}{
		{302, "https://a.test/x/y?q", "z", "https://a.test/x/z"},
		{302, "https://a.test/x", "//B.test:443", "https://b.test/"},
		{301, "http://a.test", "http://a.test:80/", "http://a.test/"},
		{308, "https://a.test/x", "?n=1#frag", "https://a.test/x?n=1"},
		{307, "https://a.test/x", "http://u:p@b.test/y", "http://b.test/y"},
		{304, "https://a.test/x", "/y", ""},
		{300, "https://a.test/x", "/y", ""},
		{302, "https://a.test/x", "", ""},
		{302, "https://a.test/x", "mailto:x@y.test", ""},
		{302, "https://a.test/x", "http://[::1", ""},
	} {
		got := redirectTarget(&bus.Request{URL: c.url}, &bus.Response{Status: c.status, Headers: []bus.Field{{Name: "Location", Value: c.location}}})
		if got != c.want {
			t.Errorf("%d %s -> %s: %q, want %q", c.status, c.url, c.location, got, c.want)
		}
	}
}

func TestMediaType(t *testing.T) {
	for in, want := range map[string][2]string{
		"text/html; charset=UTF-8":                  {"text/html", "utf-8"},
		"Application/JSON":                          {"application/json", ""},
		"text/plain;charset='iso-8859-1' ; x=y":     {"text/plain", "iso-8859-1"},
		`multipart/form-data; boundary="; charset"`: {"multipart/form-data", ""},
		"":        {},
		"garbage": {},
	} {
		m, c := mediaType(in)
		if got := [2]string{m, c}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"curl": "curl", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "--x=y:1": "--x=y:1", "$HOME": "'$HOME'"} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// A program that runs another by exec is another process from then on.
func TestExecInPlace(t *testing.T) {
	p := newProcesses()
	p.exec(&bus.ProcEvent{PID: 5, Time: 100, Exe: "/bin/sh"})
	p.exec(&bus.ProcEvent{PID: 5, Time: 200, Exe: "/usr/bin/curl"})
	p.exec(&bus.ProcEvent{PID: 5, Time: 200, Exe: "/usr/bin/curl"}) // told twice
	for time, want := range map[int64]string{50: "sh", 150: "sh", 200: "curl", 300: "curl", 0: "curl"} {
		if got := p.at(5, time).Name(); got != want {
			t.Errorf("at %d: %s, want %s", time, got, want)
		}
	}
	if a, b := p.at(5, 100).ID(), p.at(5, 300).ID(); a != "5" || b != "5.1" {
		t.Errorf("ids %s %s", a, b)
	}
}

// A socket record belongs to the connection of its time, not to an earlier one
// between the same ports.
func TestSocketReuse(t *testing.T) {
	s := newSockets()
	flow := bus.Flow{Transport: "tcp"}
	_ = flow.Client.UnmarshalText([]byte("10.0.2.15:4000"))
	_ = flow.Server.UnmarshalText([]byte("192.0.2.1:80"))
	s.add(&bus.ProcEvent{Transport: "tcp", PID: 1, Time: 10e9, Local: flow.Client, Remote: flow.Server})
	if pid := s.find(&bus.Connection{Flow: flow, Opened: 10e9}); pid != 1 {
		t.Errorf("pid %d", pid)
	}
	if pid := s.find(&bus.Connection{Flow: flow, Opened: 60e9}); pid != 0 {
		t.Errorf("a connection 50 s later has the pid %d of the one before", pid)
	}
	flow.Client, flow.Server = flow.Server, flow.Client // it accepted
	if pid := s.find(&bus.Connection{Flow: flow, Opened: 10e9}); pid != 1 {
		t.Errorf("accepted: pid %d", pid)
	}
}
