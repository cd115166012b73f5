package browsertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/cdpgw/browsertest/browser"
	"clipper/cdpgw/internal/fixture"
)

// What a row's menu copies is what the program sent: a shell runs it.
func TestCopyAsCurl(t *testing.T) {
	g := gateway(t, "h2-get", "h1-post")
	b := chromium(t)
	b.open(g.Status().URL, 4)
	var ok bool
	b.Eval(`Object.defineProperty(navigator, 'clipboard', {value: {writeText: async s => { globalThis.copied = s; }}}) && true`, &ok)
	for row, want := range map[string][]string{
		"users?page=1": {"https://api.example.test/v1/users?page=1&q=a%20b", "-b", "sid=abc123", "-H", "user-agent: curl/8.16.0"},
		"login":        {"http://plain.example.test/login", "--data-raw", "user=ada&pass=s%26cret&remember"},
	} {
		b.Eval(`delete globalThis.copied && true`, &ok)
		b.Menu(row, "Copy", "Copy as cURL")
		b.must(`!!globalThis.copied`)
		command := b.Text(`globalThis.copied`)
		c := exec.Command("sh", "-c", "curl() { printf '%s\\n' \"$@\"; }\n"+command)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, command)
		}
		args := strings.Split(string(out), "\n")
		for _, w := range want {
			if !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, w) }) {
				t.Errorf("%s: no %q in %s", row, w, command)
			}
		}
		b.Open(g.Status().URL) // closes the menu
		b.Rows(4)
		b.Eval(`Object.defineProperty(navigator, 'clipboard', {value: {writeText: async s => { globalThis.copied = s; }}}) && true`, &ok)
	}
}

// What is copied does the same again: a real server gets the same request.
func TestCopiedRequest(t *testing.T) {
	for _, name := range []string{"bash", "curl", "base64"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	type request struct{ method, url, kind, body string }
	got := make(chan request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Method, r.URL.String(), r.Header.Get("Content-Type"), string(body)}
		w.Header().Set("Content-Length", "10")
		if r.Method != http.MethodHead {
			io.WriteString(w, "0123456789")
		}
	}))
	t.Cleanup(srv.Close)
	g := gateway(t, "h2-get")
	requests := []request{
		{"PATCH", "/text?q=a%20b", "application/json", "{\"a\":\"it's $HOME `id` \\n !\"}"},
		{"POST", "/binary", "application/octet-stream", "\x00\x01\xff\xfe\r\n'!\x80"},
		{"HEAD", "/head", "", ""},
	}
	for i, r := range requests {
		conn := bus.ConnID(900 + i)
		line := func(e bus.Event) {
			e.Conn, e.Stream, e.Time = conn, 1, fixture.Base
			g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: conn, Event: &e})
		}
		q := bus.Request{Method: r.method, URL: srv.URL + r.url, Proto: "http/1.1"}
		if r.body != "" {
			q.Headers = []bus.Field{{Name: "Content-Type", Value: r.kind}, {Name: "Content-Length", Value: strconv.Itoa(len(r.body))}}
		}
		line(bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: bus.Flow{Transport: "tcp"}, Opened: fixture.Base}})
		line(bus.Event{Type: bus.EventRequest, Request: &q})
		g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: conn, Stream: 1, Payload: []byte(r.body)})
		line(bus.Event{Type: bus.EventEnd, End: &bus.MessageEnd{Decoded: uint64(len(r.body)), Wire: uint64(len(r.body))}})
		line(bus.Event{Type: bus.EventResponse, Response: &bus.Response{Status: 200, Proto: "http/1.1"}})
		line(bus.Event{Type: bus.EventEnd, Dir: bus.ServerToClient, End: &bus.MessageEnd{}})
	}
	b := chromium(t)
	for _, want := range requests {
		b.open(g.Status().URL, 5) // anew, which closes the menu
		var ok bool
		b.Eval(`Object.defineProperty(navigator, 'clipboard', {value: {writeText: async s => { globalThis.copied = s; }}}) && true`, &ok)
		b.Menu(strings.TrimPrefix(want.url, "/"), "Copy", "Copy as cURL")
		b.must(`!!globalThis.copied`)
		command := b.Text(`globalThis.copied`)
		if out, err := exec.Command("bash", "-c", command+" -sS").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, command, out)
		}
		if r := <-got; r != want {
			t.Errorf("got  %q\nwant %q\nby %s", r, want, command)
		}
	}
}

// A HAR is shown like a session.
func TestImportHAR(t *testing.T) {
	g := gateway(t, "h2-get")
	b := chromium(t)
	b.open(g.Status().URL, 2)
	const har = `{"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "pages": [], "entries": [
{"startedDateTime": "2026-11-23T09:38:34.000Z", "time": 5, "request": {"method": "GET", "url": "https://imported.test/from-har.json", "httpVersion": "HTTP/2", "headers": [], "queryString": [], "cookies": [], "headersSize": -1, "bodySize": 0},
"response": {"status": 203, "statusText": "Non-Authoritative", "httpVersion": "HTTP/2", "headers": [{"name": "content-type", "value": "application/json"}], "cookies": [], "content": {"size": 15, "mimeType": "application/json", "text": "{\"har\":\"yes\"}"}, "redirectURL": "", "headersSize": -1, "bodySize": 15},
"cache": {}, "timings": {"send": 1, "wait": 3, "receive": 1}}]}}`
	load := func(har string) {
		b.must(`(() => {
			const field = clipperTest.every(e => e.tagName === 'INPUT' && e.type === 'file')[0];
			if (!field) return false;
			const t = new DataTransfer();
			t.items.add(new File([` + browser.Quote(har) + `], 'x.har'));
			field.files = t.files;
			field.dispatchEvent(new Event('change'));
			return true;
		})()`)
	}
	load(har)
	b.must(`clipperTest.rows().some(r => r.name.includes('from-har.json'))`)
	if r := find(b.Rows(1), "from-har.json"); !strings.HasPrefix(r["status"], "203") {
		t.Errorf("row: %v", r)
	}
	b.Item("from-har.json", "Response", `"har"`)
	b.shot("imported")

	written, err := os.ReadFile("../../httpdec/har/testdata/conversation.har") // as Clipper writes it
	if err != nil {
		t.Fatal(err)
	}
	load(string(written))
	b.must(`clipperTest.rows().some(r => r.name.includes('binary'))`)
}

// The filters of the panel find what they name, and rows that failed are red.
func TestFilters(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	all := b.open(g.Status().URL, 20)
	for _, c := range []struct {
		filter, is, not string
	}{
		{"status-code:404", "missing", "users?page=1"},
		{"method:POST", "login", "users?page=1"},
		{"domain:api.example.test", "users?page=1", "login"},
		{"has-response-header:set-cookie", "users?page=1", "logo.png"},
		{"mime-type:image/png", "logo.png", "login"},
		{"/pa.e=1/", "users?page=1", "login"},
		{"-login", "users?page=1", "login"},
	} {
		b.must(`clipperTest.filter(` + browser.Quote(c.filter) + `)`)
		b.must(`clipperTest.rows().some(r => r.name.includes(` + browser.Quote(c.is) + `)) && !clipperTest.rows().some(r => r.name.includes(` + browser.Quote(c.not) + `))`)
	}
	b.must(`clipperTest.filter('')`)
	b.must(`clipperTest.rows().length >= ` + strconv.Itoa(len(all)))
	for row, red := range map[string]bool{"missing": true, "badtls": true, "users?page=1": false} {
		var color []int
		b.Eval(`clipperTest.color(`+browser.Quote(row)+`)`, &color)
		if len(color) != 3 || (color[0] > color[1]+80 && color[0] > color[2]+80) != red {
			t.Errorf("%s: color %v", row, color)
		}
	}
}
