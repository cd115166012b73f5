package cdpgw

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzCall feeds what clients may send. Each message has one valid answer.
func FuzzCall(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"Network.enable"}`, `{"id":2,"method":"Network.getResponseBody","params":{"requestId":"000000000000000a.1"}}`,
		`{"id":3,"method":"Network.searchInResponseBody","params":{"requestId":"000000000000000a.1","query":"(a+)+$","isRegex":true}}`,
		`{"id":4,"method":"Target.attachToTarget","params":{"targetId":"` + secret + `","flatten":true}}`, `{"id":5,"method":"Debugger.getScriptSource","params":{"scriptId":"4242"}}`,
		`{"id":6,"method":"Target.detachFromTarget","params":{"sessionId":"session-1"}}`, `{"id":-1e400}`, `{}`, `[`, "\xff",
	} {
		f.Add([]byte(s))
	}
	g := start(f, Options{Discovery: true})
	play(f, g, "h2-get", "verdicts")
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := &client{g: g, ctx: ctx, cancel: cancel, replies: make(chan reply, 16), wake: make(chan struct{}, 1), busy: make(chan struct{}, 16), sessions: map[string]*session{}}
		c.addSession("", scope{})
		c.call(b)
		r := <-c.replies
		var out bytes.Buffer
		if err := r.write(&out); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out.Bytes()) {
			t.Fatalf("answer to %q: %q", b, out.Bytes())
		}
	})
}

// FuzzHTTP feeds paths and headers to the server: nothing without the secret
// gets at the page or a target, and no answer tells it where discovery is off.
func FuzzHTTP(f *testing.F) {
	f.Add("/json/list", "127.0.0.1:9229", "", "")
	f.Add("/devtools/page/x-pid-1", "localhost", "devtools://devtools", "same-origin")
	f.Add("/..%2f", "[::1]", "null", "cross-site")
	g := start(f, Options{})
	f.Fuzz(func(t *testing.T, path, host, origin, site string) {
		r, err := http.NewRequest(http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Skip()
		}
		if u, err := r.URL.Parse(path); err == nil && u.Path != "" {
			r.URL = u
		}
		if strings.Contains(r.URL.Path, secret) || !strings.HasPrefix(r.URL.Path, "/") {
			t.Skip()
		}
		r.Host = host
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code == http.StatusOK && r.URL.Path != "/favicon.ico" {
			t.Fatalf("%q from %q: %d", r.URL.Path, origin, w.Code)
		}
		if strings.Contains(w.Body.String(), secret) || strings.Contains(w.Header().Get("Location"), secret) {
			t.Fatalf("%q tells the secret", r.URL.Path)
		}
	})
}
