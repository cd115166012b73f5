package cdpgw

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func readAll(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func TestPolicy(t *testing.T) {
	g := start(t, Options{Discovery: true})
	play(t, g, "h2-get")
	own := "http://" + g.host()
	for _, c := range []struct {
		name, path, host string
		header           map[string]string
		want             int
	}{
		{"plain", "/json/version", "", nil, 200},
		{"localhost", "/json/version", "localhost:9229", nil, 200},
		{"loopback by number, another port (a forwarded one)", "/json/version", "127.0.0.1:1", nil, 200},
		{"IPv6 loopback", "/json/version", "[::1]:9229", nil, 200},
		{"rebound name", "/json/version", "evil.test", nil, 403},
		{"rebound name on the page", "/" + secret + "/", "evil.test:80", nil, 403},
		{"rebound name on the socket", "/devtools/page/" + secret, "evil.test", nil, 403},
		{"name below localhost", "/json/version", "evil.localhost", nil, 403},
		{"other address", "/json/version", "192.168.1.2:9229", nil, 403},
		{"own origin", "/json/version", "", map[string]string{"Origin": own}, 200},
		{"DevTools", "/json/version", "", map[string]string{"Origin": "devtools://devtools"}, 200},
		{"DevTools lookalike", "/json/version", "", map[string]string{"Origin": "devtools://devtools.evil.test"}, 403},
		{"web site", "/json/version", "", map[string]string{"Origin": "https://evil.test"}, 403},
		{"null origin", "/json/version", "", map[string]string{"Origin": "null"}, 403},
		{"other port", "/json/version", "", map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{"own host, https", "/json/version", "", map[string]string{"Origin": "https://" + g.host()}, 403},
		{"extension", "/json/version", "", map[string]string{"Origin": "chrome-extension://abcdefghijklmnop"}, 403},
		{"script tag of a site", "/json/list", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403},
		{"script tag of another port", "/json/list", "", map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403},
		{"typed", "/", "", map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 302},
		{"link from a chat", "/", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 302},
		{"frame of a site", "/", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		{"link to /json", "/json/list", "", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403},
		{"wrong secret", "/test-secret-path-0123456780/", "", nil, 404},
		{"file without secret", "/clipper.js", "", nil, 404},
		{"path traversal", "/" + secret + "/..%2f..%2fgo.mod", "", nil, 400},
		{"unknown target", "/devtools/page/other-secret-path-123", "", nil, 404},
		{"unknown kind", "/devtools/worker/" + secret, "", nil, 404},
		{"target that is no number", "/devtools/page/" + secret + "-pid-x", "", nil, 404},
		{"socket without upgrade", "/devtools/page/" + secret, "", nil, 400},
		{"certificates", "/" + secret + "/certificates?origin=https://api.example.test", "", nil, 200},
		{"certificates of nobody", "/" + secret + "/certificates?origin=x", "", nil, 404},
		{"certificates without secret", "/certificates?origin=https://api.example.test", "", nil, 404},
		{"page", "/" + secret + "/?ws=x", "", nil, 200},
		{"icon", "/favicon.ico", "", nil, 200},
		{"trailing slash", "/json/version/", "", nil, 200},
	} {
		r := must(http.NewRequest(http.MethodGet, own+c.path, nil))
		if c.host != "" {
			r.Host = c.host
		}
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		a, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body := readAll(a)
		a.Body.Close()
		if a.StatusCode != c.want {
			t.Errorf("%s: %d, want %d: %.100s", c.name, a.StatusCode, c.want, body)
		}
		for h, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if a.Header.Get(h) != want {
				t.Errorf("%s: %s is %q", c.name, h, a.Header.Get(h))
			}
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: a CORS header", c.name)
		}
		if a.StatusCode == 403 && strings.Contains(body, secret) {
			t.Errorf("%s: the refusal tells the secret", c.name)
		}
	}
	post, err := http.Post(own+"/json/list", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	post.Body.Close()
	if post.StatusCode != 405 {
		t.Errorf("POST: %d", post.StatusCode)
	}
}

func TestDiscovery(t *testing.T) {
	g := start(t, Options{Discovery: true, Title: "curl -s https://api.example.test/", AppPID: 4242})
	play(t, g, "h2-get", "h1-post")
	_, body := get(t, "http://"+g.host()+"/json/list")
	var list []targetEntry
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 || list[0].ID != secret || list[0].Type != "node" || list[0].Title != "Clipper: curl -s https://api.example.test/ (pid 4242)" {
		t.Fatalf("targets: %+v", list)
	}
	if want := "ws://" + g.host() + "/devtools/page/" + secret + "-pid-5151"; list[1].WebSocketDebuggerURL != want {
		t.Errorf("process target %q, want %q", list[1].WebSocketDebuggerURL, want)
	}
	r, _ := get(t, "http://"+g.host()+"/")
	if l := r.Header.Get("Location"); r.StatusCode != 302 || l != "/"+secret+"/" {
		t.Errorf("/: %d to %q", r.StatusCode, l)
	}
	s := g.Status()
	if s.URL != "http://"+g.host()+"/" || !strings.Contains(s.DevToolsURL, "ws=127.0.0.1:") {
		t.Errorf("status: %+v", s)
	}
}

func TestNoDiscovery(t *testing.T) {
	g := start(t, Options{})
	for _, p := range []string{"/", "/json/list", "/json/version"} {
		if r, body := get(t, "http://"+g.host()+p); r.StatusCode != 404 || strings.Contains(body, secret) {
			t.Errorf("%s: %d %s", p, r.StatusCode, body)
		}
	}
	if want := "http://" + g.host() + "/" + secret + "/"; g.Status().URL != want {
		t.Errorf("URL %q, want %q", g.Status().URL, want)
	}
	if r, body := get(t, g.Status().URL+"?ws=x"); r.StatusCode != 200 || !strings.Contains(body, "clipper.js") {
		t.Errorf("page: %d %s", r.StatusCode, body)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Addr: "0.0.0.0:0"}, {Addr: "localhost:0"}, {Addr: "192.168.0.1:80"}, {Addr: "x"}, {SecretPath: "short"}, {SecretPath: "has/slash/0123456789"}, {ListenFD: 987}} {
		if g, err := New(o); err == nil {
			g.Close()
			t.Errorf("%+v: accepted", o)
		}
	}
	if a, b := NewSecretPath(), NewSecretPath(); !validSecretPath(a) || a == b {
		t.Error("NewSecretPath")
	}
}
