package browsertest

import (
	"strings"
	"testing"

	"clipper/bus"
	"clipper/cdpgw"
)

func find(rows []map[string]string, name string) map[string]string {
	for _, r := range rows {
		if strings.Contains(r["name"], name) {
			return r
		}
	}
	return nil
}

func TestPage(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	rows := b.open(g.Status().URL, 20)
	b.shot("list")
	for _, r := range rows {
		t.Log(r)
	}
	for name, want := range map[string]map[string]string{
		"users?page=1": {"method": "GET", "status": "200", "protocol": "h2", "domain": "api.example.test", "remote-address": "203.0.113.10:443", "type": "fetch", "initiator": "curl"},
		"pushed.css":   {"initiator": "Push", "type": "stylesheet", "status": "200"},
		"login":        {"method": "POST", "status": "200", "protocol": "http/1.1", "type": "document"},
	} {
		r := find(rows, name)
		for k, v := range want {
			if !strings.Contains(r[k], v) {
				t.Errorf("%s: %s is %q, want %q", name, k, r[k], v)
			}
		}
	}
	var tabs []string
	b.Eval("clipperTest.mainTabs()", &tabs)
	t.Log("tabs", tabs)

	view := b.Item("users?page=1", "Headers", "203.0.113.10:443", "x-zebra", "sid=abc123")
	b.shot("headers")
	if strings.Contains(view, "Provisional") {
		t.Errorf("headers are provisional: %s", view)
	}
	b.Item("users?page=1", "Response", "Grace")
	b.shot("response")
	view = b.Item("users?page=1", "Timing", "Initial connection", "Waiting for server response", "Content download")
	t.Log(view)
	b.shot("timing")
	view = b.Item("users?page=1", "Initiator", "curl [pid 4242]", "bash [pid 4100]")
	t.Log(view)
	b.shot("initiator")
	b.Item("users?page=1", "Cookies", "sid", "abc123")
}

// Each kind of exchange in the view that is made for it.
func TestViews(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	b.open(g.Status().URL, 20)
	for _, c := range []struct {
		row, tab string
		want     []string
	}{
		{"users?page=1", "Headers", []string{"Connection 1, opened for this request", "TLS 1.3, X25519MLKEM768, AES_128_GCM", "api.example.test, issued by api.example.test", "*.example.test"}},
		{"half", "Headers", []string{"Failure net::ERR_CONTENT_LENGTH_MISMATCH", "Connection"}},
		{"login", "Payload", []string{"user", "ada", "s&cret"}},
		{"login", "Response", []string{"Hello Ada"}},
		{"upload", "Payload", []string{"title", "hello", "(binary)"}},
		{"half", "Response", []string{"only the first part"}},
		{"badtls", "Response", []string{"unknown_ca (48) sent by the client"}},
		{"secret.example.test", "Response", []string{"no TLS secret came", "The program's TLS library is wolfSSL", "Build the program with OpenSSL"}},
		{"203.0.113.99", "Response", []string{"plain text, but not HTTP"}},
		{"chat", "Messages", []string{`{"hello":"server"}`, "5 B"}},
		{"chat", "Headers", []string{"101 Switching Protocols", "made+up="}},
		{"events", "EventStream", []string{"tick", `{"n":2}`}},
		{"events", "Response", []string{"event: tick"}},
		{"SayHello", "Headers", []string{"grpc-status 0"}},
		{"SayHello", "Messages", []string{`1: "Ada"`, `1: "Hello Ada"`, "sent", "received"}},
		{"logo.png", "Preview", []string{"120 × 80", "image/png"}},
		{"app.js", "Response", []string{"console . log"}},
		{"data.bin", "Response", []string{"00 01 02"}},
		{"home", "Headers", []string{"early.css"}},
		{"missing", "Headers", []string{"404 Not Found"}},
		{"missing", "Response", []string{"nope"}},
	} {
		view := b.Item(c.row, c.tab, c.want...)
		t.Logf("%s, %s: %.600s", c.row, c.tab, view)
		b.shot(c.row + "-" + c.tab)
	}
}

// A look-up in vain is a row of the name, each on a flow of its own or not.
func TestLookups(t *testing.T) {
	g := gateway(t, "names")
	b := chromium(t)
	rows := b.open(g.Status().URL, 3)
	if len(rows) != 3 {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
	for name, why := range map[string]string{"gone.example.test": "there is no such name", "empty.example.test": "the name has no address", "mute.example.test": "the name server did not answer"} {
		if r := find(rows, name); r["method"] != "DNS" || r["domain"] != name || !strings.Contains(r["status"], "net::ERR_NAME_NOT_RESOLVED ("+why) {
			t.Errorf("%s: %v", name, r)
		}
		b.Item(name, "Response", "A name could not be looked up", why)
		b.Item(name, "Timing", "DNS lookup")
	}
}

// The link of an initiator shows the process.
func TestProcessLink(t *testing.T) {
	g := gateway(t, "h2-get")
	b := chromium(t)
	b.open(g.Status().URL, 2)
	b.Item("users?page=1", "Initiator", "curl [pid 4242]")
	var ok bool
	if !b.Until(func() bool { b.Eval(`clipperTest.follow('curl')`, &ok); return ok }) {
		t.Fatal("no link")
	}
	if !b.Until(func() bool { return strings.Contains(b.Text(`clipperTest.body()`), "// executable /usr/bin/curl") }) {
		b.shot("process-link")
		t.Error("no dialog about the process")
	}
	b.shot("process")
}

func TestDark(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	b.dark()
	b.open(g.Status().URL, 20)
	b.shot("dark")
	var color string
	b.Eval(`getComputedStyle(document.body).backgroundColor`, &color)
	if color == "rgb(255, 255, 255)" {
		t.Errorf("background %s", color)
	}
}

// The browser's own DevTools frontend understands the session, too.
func TestBundledFrontend(t *testing.T) {
	g := gateway(t)
	b := chromium(t)
	rows := b.open(g.Status().DevToolsURL, 20)
	if r := find(rows, "users?page=1"); !strings.HasPrefix(r["status"], "200") || !strings.Contains(r["initiator"], "curl") {
		t.Errorf("row: %v", r)
	}
	if view := b.Item("users?page=1", "Headers", "203.0.113.10:443"); strings.Contains(view, "Provisional") {
		t.Errorf("headers: %s", view)
	}
	b.shot("bundled")
}

// The certificate chain of a connection can be looked at.
func TestCertificates(t *testing.T) {
	g := gateway(t, "h2-get")
	b := chromium(t)
	b.open(g.Status().URL, 2)
	b.Item("users?page=1", "Headers", "Show the chain")
	b.must(`clipperTest.follow('Show the chain')`)
	b.must(`clipperTest.body().includes('BEGIN CERTIFICATE')`)
	body := b.Text(`clipperTest.body()`)
	for _, want := range []string{"Certificate 1 of 1", "subject CN=api.example.test", "*.example.test", "ECDSA P-256", "valid to 2036"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	b.shot("certificates")
}

// A body that had to make room says so.
func TestEvictedBody(t *testing.T) {
	g := gatewayWith(t, cdpgw.Options{BodyMemory: 1 << 20, BodyDisk: 1 << 20}, "h2-get")
	for i := range 8 {
		g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: bus.ConnID(1000 + i), Stream: 1, Dir: bus.ServerToClient, Payload: make([]byte, 512<<10)})
	}
	b := chromium(t)
	b.open(g.Status().URL, 2)
	b.Item("users?page=1", "Response", "body no longer kept: the limit on stored bodies was reached")
	b.shot("evicted")
}

// A custom profile of the throttling settings is one of the menu.
func TestCustomThrottling(t *testing.T) {
	g, want := conditions(t)
	b := chromium(t)
	b.open(g.Status().URL, 5)
	b.must(`clipperTest.choose('Add…')`)
	b.must(`clipperTest.body().includes('Add profile')`)
	b.shot("profiles")
	b.must(`(() => {
		const add = clipperTest.every(e => e.tagName === 'DEVTOOLS-BUTTON' && clipperTest.text(e).includes('Add profile'))[0];
		add?.click();
		return !!add;
	})()`)
	b.must(`(() => {
		const fields = clipperTest.every(e => e.tagName === 'INPUT' && e.closest('.editor-container') && e.type !== 'checkbox');
		['mine', '800', '400', '150'].forEach((value, i) => {
			fields[i].value = value;
			fields[i].dispatchEvent(new Event('input', {bubbles: true}));
		});
		const add = clipperTest.every(e => e.tagName === 'DEVTOOLS-BUTTON' && clipperTest.text(e) === 'Add')[0];
		add?.click();
		return !!add;
	})()`)
	b.shot("profile")
	b.must(`clipperTest.button('Close')`)
	b.must(`clipperTest.choose('mine')`)
	want(`{"limits":[{"latency":150000000,"download":100000,"upload":50000}]}`)
}
