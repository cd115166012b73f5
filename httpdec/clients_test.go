package httpdec

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/bus/porttest"

	"golang.org/x/net/http2"
	//lint:ignore SA1019 its successor in net/http does not take an Upgrade
	"golang.org/x/net/http2/h2c"
)

// upgradable serves HTTP/1.1 and HTTP/2, by prior knowledge and by Upgrade.
func upgradable(t *testing.T) string {
	//lint:ignore SA1019 the same
	srv := httptest.NewServer(h2c.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/trailers" {
			w.Header().Set("Trailer", "x-sum")
			defer w.Header().Set("x-sum", "7")
		}
		fmt.Fprint(w, r.Method, " ", n)
		//lint:ignore SA1019 the same
	}), &http2.Server{}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// connectProxy is a proxy for CONNECT, and for plain requests to to.
func connectProxy(t *testing.T, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := bufio.NewReader(c)
				r, err := http.ReadRequest(b)
				if err != nil || r.Method != "CONNECT" {
					io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					return
				}
				s, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer s.Close()
				io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
				go func() {
					io.Copy(s, b)
					s.(*net.TCPConn).CloseWrite()
				}()
				io.Copy(c, s)
			}()
		}
	}()
	return l.Addr().String()
}

// TestCurlModes runs curl in the ways that change what goes over the wire.
func TestCurlModes(t *testing.T) {
	curl := program(t, "curl")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("x", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	server := upgradable(t)
	proxy := connectProxy(t, server)
	old, err := net.Listen("tcp", "127.0.0.1:0") // HTTP/0.9
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	go func() {
		for {
			c, err := old.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "<p>a page without a head</p>")
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	for _, c := range []struct{ name, to, args, want string }{
		{"upgrade to h2c", server, "--http2 URL/a", "GET /a 200 5 after 101"},
		{"upgrade to h2c, then more", server, "--http2 URL/a URL/b", "GET /a 200 5 after 101|GET /b 200 5"},
		{"h2c with a body", server, "--http2 -d 0123456789 URL/a", "POST /a 200 7 after 101"},
		{"prior knowledge", server, "--http2-prior-knowledge -d 0123456789 URL/a", "POST /a 200 7"},
		{"trailers", server, "URL/trailers", "GET /trailers 200 5 X-Sum=7"},
		{"trailers over h2", server, "--http2-prior-knowledge URL/trailers", "GET /trailers 200 5 x-sum=7"},
		{"in parallel", server, "-Z URL/a URL/b URL/c", "GET /a 200 5|GET /b 200 5|GET /c 200 5"},
		{"next", server, "URL/a --next -I URL/b --next -X DELETE URL/c", "DELETE /c 200 8|GET /a 200 5|HEAD /b 200 0"},
		{"options of the server", server, "-X OPTIONS --request-target * URL", "OPTIONS * 200 0"},
		{"odd method", server, "-X M-SEARCH URL/x", "M-SEARCH /x 200 10"},
		{"query in the body", server, "-X GET --data-binary @DIR/file URL/x", "GET /x 200 8"},
		{"url-encoded query", server, "-G --data-urlencode a=b&c URL/x", "GET /x?a=b%26c 200 5"},
		{"path as it is", server, "--path-as-is URL/a/../b", "GET /a/../b 200 5"},
		{"upload that waits", server, "--expect100-timeout 30 -H Expect:100-continue -T DIR/file URL/up", "PUT /up 200 8 after 100"},
		{"upload of unknown length", server, "-T . URL/up", "PUT /up 200 5 after 100"},
		{"through a proxy", server, "-x PROXY http://far.test/a", "GET http://far.test/a 200 5"},
		{"through a tunnel", proxy, "-p -x PROXY http://far.test/a", "CONNECT far.test:80 200 0|GET /a 200 5"},
		{"h2 through a tunnel", proxy, "-p -x PROXY --http2-prior-knowledge http://far.test/a", "CONNECT far.test:80 200 0|GET /a 200 5"},
		{"HTTP/0.9", old.Addr().String(), "--http0.9 URL/a", "GET /a 0 28 the response has no head"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRelay(t, c.to)
			at := r.Addr().String()
			args := []string{"-sS", "--max-time", "60", "--output-dir", dir, "-o", "out"}
			for _, f := range strings.Fields(c.args) {
				args = append(args, strings.NewReplacer("URL", "http://"+at, "PROXY", at, "DIR", dir).Replace(f))
			}
			cmd := exec.Command(curl, args...)
			cmd.Stdin = strings.NewReader("")
			cmd.Env = append(os.Environ(), "no_proxy=", "NO_PROXY=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("curl: %v %s", err, out)
			}
			if got := strings.Join(summaries(r.finish()), "|"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestNghttp has nghttp upgrade, pad, and ask for much at once; nghttpd pushes.
func TestNghttp(t *testing.T) {
	nghttp, nghttpd := program(t, "nghttp"), program(t, "nghttpd")
	dir := t.TempDir()
	for name, size := range map[string]int{"index.html": 100, "a.css": 20_000, "b.js": 300_000} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := porttest.TCP(t, "127.0.0.1")
	server := exec.Command(nghttpd, "-a", "127.0.0.1", "-d", dir, "-p", "/index.html=/a.css", "-b", "40", "--trailer", "x-sum: 7", "--header-table-size", "100", "--no-tls", fmt.Sprint(at.Port()))
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	porttest.Await(t, at.String())
	for _, c := range []struct{ name, to, args, want string }{
		{"push, padding, trailers", at.String(), "-b 30 -n URL/index.html",
			"GET /a.css 200 20000 x-sum=7|GET /index.html 200 100 x-sum=7"},
		{"at once", at.String(), "--no-push -n -m 3 URL/b.js URL/none",
			"GET /b.js 200 300000 x-sum=7|GET /b.js 200 300000 x-sum=7|GET /b.js 200 300000 x-sum=7|GET /none 404 148 x-sum=7|GET /none 404 148 x-sum=7|GET /none 404 148 x-sum=7"},
		{"upgrade", upgradable(t), "-u -n URL/a", "GET /a 200 5 after 101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRelay(t, c.to)
			var args []string
			for _, f := range strings.Fields(c.args) {
				args = append(args, strings.NewReplacer("URL", "http://"+r.Addr().String(), "DIR", dir).Replace(f))
			}
			if out, err := exec.Command(nghttp, args...).CombinedOutput(); err != nil {
				t.Fatalf("nghttp: %v %s", err, out)
			}
			want := strings.Split(c.want, "|")
			slices.Sort(want)
			if got := summaries(r.finish()); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// pythonServer closes after each response; it reads the bodies of requests.
const pythonServer = `
import http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    def answer(self):
        n = int(self.headers.get('Content-Length', 0))
        while self.headers.get('Transfer-Encoding') == 'chunked':
            size = int(self.rfile.readline(), 16)
            self.rfile.read(size + 2)
            n += size
            if size == 0: break
        else: self.rfile.read(n)
        body = b'%d bytes' % n
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_PUT = answer
    def log_message(self, *args): pass
s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(s.server_port, flush=True)
s.serve_forever()
`

const pythonClient = `
import sys, urllib.request, urllib.error, http.client
base = 'http://' + sys.argv[1]
urllib.request.urlopen(base + '/a.txt').read()
urllib.request.urlopen(base + '/post', b'x' * 5000).read()
try: urllib.request.urlopen(base + '/none')
except urllib.error.HTTPError as e: e.read()
c = http.client.HTTPConnection(sys.argv[1])
c.request('PUT', '/chunks', body=iter([b'one', b'two']), encode_chunked=True)
c.getresponse().read()
`

// TestPython has Python's client talk to Python's server: HTTP/1.0, and the end of
// the connection is the end of the body.
func TestPython(t *testing.T) {
	python := program(t, "python3")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(strings.Repeat("text\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(python, "-u", "-c", pythonServer)
	server.Dir = dir
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	r := newRelay(t, "127.0.0.1:"+strings.TrimSpace(port))
	if out, err := exec.Command(python, "-c", pythonClient, r.Addr().String()).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	var got []string
	for _, o := range outcomes(r.finish()) {
		size := fmt.Sprint(o.decoded)
		if o.status == 404 {
			size = "page" // which differs between versions
		}
		got = append(got, fmt.Sprintf("%s %s %d %s%s%s", o.method, o.target, o.status, size, o.failure, o.problem))
	}
	slices.Sort(got)
	want := []string{"GET /a.txt 200 5000", "GET /none 404 page", "POST /post 200 10", "PUT /chunks 200 7"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
