package integration

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// harLog is what the tests read of a HAR 1.2 file.
type harLog struct {
	Log struct {
		Version  string
		Entries  []harEntry
		Verdicts []harVerdict `json:"_verdicts"`
	}
}

type harVerdict struct {
	Code, Reason, Help string
}

type harEntry struct {
	StartedDateTime string
	Time            float64
	Request         struct {
		Method, URL, HTTPVersion string
		Headers                  []nameValue
		PostData                 *struct{ MimeType, Text, Encoding string }
	}
	Response struct {
		Status      int
		HTTPVersion string
		Headers     []nameValue
		Content     struct {
			Size                     int
			MimeType, Text, Encoding string
		}
	}
	Timings         map[string]float64
	ServerIPAddress string
	PID             int    `json:"_pid"`
	Command         string `json:"_command"`
	Error           string `json:"_error"`
	TLS             struct {
		Version, Cipher, ALPN, SNI, Library, Mechanism string
		Resumed, EarlyData                             bool
	} `json:"_tls"`
}

type nameValue struct{ Name, Value string }

func readHAR(t testing.TB, path string) harLog {
	t.Helper()
	var h harLog
	unmarshal(t, readFile(t, path), &h)
	if h.Log.Version != "1.2" {
		t.Errorf("HAR version %q", h.Log.Version)
	}
	return h
}

// exchange puts an entry in the server's terms.
func (e harEntry) exchange(t testing.TB) truth.Exchange {
	t.Helper()
	x := truth.Exchange{Method: e.Request.Method, URL: e.Request.URL, Status: e.Response.Status,
		RequestHeaders: flatten(e.Request.Headers), ResponseHeaders: flatten(e.Response.Headers),
		RequestBody: truth.Hash(nil), ResponseBody: truth.Hash(body(t, e.Response.Content.Text, e.Response.Content.Encoding))}
	if p := e.Request.PostData; p != nil {
		x.RequestBody = truth.Hash(body(t, p.Text, p.Encoding))
	}
	x.Proto = map[string]string{"HTTP/1.0": "HTTP/1.0", "HTTP/1.1": "HTTP/1.1", "http/1.1": "HTTP/1.1", "h2": "HTTP/2.0", "HTTP/2": "HTTP/2.0", "http/2.0": "HTTP/2.0", "HTTP/2.0": "HTTP/2.0", "HTTP/3": "HTTP/3.0"}[e.Request.HTTPVersion]
	return x
}

func body(t testing.TB, text, encoding string) []byte {
	t.Helper()
	if encoding != "base64" {
		return []byte(text)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// flatten leaves HTTP/2's pseudo-header fields out: net/http's server keeps them elsewhere.
func flatten(fields []nameValue) []string {
	var l []string
	for _, f := range fields {
		if !strings.HasPrefix(f.Name, ":") {
			l = append(l, strings.ToLower(f.Name)+": "+f.Value)
		}
	}
	slices.Sort(l)
	return l
}

// sameAsServer compares the HAR's entries with what the server wrote down.
func sameAsServer(t testing.TB, h harLog, server []truth.Exchange) {
	t.Helper()
	var seen []truth.Exchange
	for _, e := range h.Log.Entries {
		seen = append(seen, e.exchange(t))
	}
	truth.Sort(seen)
	if len(seen) != len(server) {
		t.Errorf("%d entries in the HAR, %d exchanges at the server", len(seen), len(server))
	}
	for i := range min(len(seen), len(server)) {
		a, b := seen[i], server[i]
		if a.Method != b.Method || a.URL != b.URL || a.Proto != b.Proto || a.Status != b.Status || a.RequestBody != b.RequestBody || a.ResponseBody != b.ResponseBody ||
			!slices.Equal(a.RequestHeaders, b.RequestHeaders) || !slices.Equal(a.ResponseHeaders, b.ResponseHeaders) {
			t.Errorf("clipper saw\n%+v\nthe server saw\n%+v", a, b)
		}
	}
}
