package httpdec

import (
	"bytes"
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
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"clipper/bus"
	"clipper/bus/porttest"
)

// relay records the connections that it passes on to addr.
type relay struct {
	recorder
	net.Listener
	wg sync.WaitGroup
}

func newRelay(t *testing.T, addr string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.pass(c, addr) })
		}
	}()
	return r
}

func (r *relay) pass(c net.Conn, addr string) {
	defer c.Close()
	server, err := r.dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(server, c)
		server.(*recordedConn).Conn.(*net.TCPConn).CloseWrite()
	})
	wg.Go(func() {
		io.Copy(c, server)
		c.(*net.TCPConn).CloseWrite()
	})
	wg.Wait()
}

// finish waits for the connections and decodes them.
func (r *relay) finish() []bus.Event {
	r.Close()
	r.wg.Wait()
	var events []bus.Event
	s := New()
	step := func(rec *bus.Record) {
		if rec.Layer == bus.HTTP {
			events = append(events, *rec.Event.(*bus.Event))
		}
	}
	for i := range r.records {
		s.Process(&r.records[i], step)
	}
	s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, step)
	return events
}

func program(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no program %s", name)
	}
	return path
}

// startNginx serves dir over HTTP/1 and, by prior knowledge, over HTTP/2.
func startNginx(t *testing.T, dir string) (h1, h2 string) {
	path := program(t, "nginx")
	h1, h2 = porttest.TCP(t, "127.0.0.1").String(), porttest.TCP(t, "127.0.0.1").String()
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  types { text/plain txt; text/html html; image/png png; }
  gzip on; gzip_types text/plain; gzip_min_length 10;
  server { listen %[2]s; listen %[3]s http2; root %[1]s/www; client_max_body_size 100k;
    absolute_redirect off; location /up { proxy_pass http://%[2]s/echo; }
    location /moved { return 301 /a.txt; }
    location /echo { return 200 "$request_method $content_length\n"; }
  }
}`, dir, h1, h2)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "-c", file, "-p", dir)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	porttest.Await(t, h2)
	return h1, h2
}

// outcome is what there is of an exchange for comparison.
type outcome struct {
	method, target, raw, failure, problem string
	status, interim                       int
	wire, decoded                         uint64 // of the response
	messages                              int
	trailers                              []bus.Field // of the response
}

func outcomes(events []bus.Event) (list []*outcome) {
	type key struct {
		c bus.ConnID
		s uint64
	}
	all := map[key]*outcome{}
	for _, e := range events {
		k := key{e.Conn, e.Stream}
		switch x := all[k]; e.Type {
		case bus.EventRequest:
			all[k] = &outcome{method: e.Request.Method, target: e.Request.Target}
			list = append(list, all[k])
		case bus.EventInformation:
			x.interim = e.Response.Status
		case bus.EventResponse:
			x.status, x.raw = e.Response.Status, e.Response.Raw
		case bus.EventEnd:
			if e.Dir == bus.ServerToClient {
				x.wire, x.decoded, x.trailers = e.End.Wire, e.End.Decoded, e.End.Trailers
			}
			x.problem += e.End.Problem
		case bus.EventMessage:
			x.messages++
		case bus.EventFailed:
			x.failure = e.Failure.Code
		}
	}
	return list
}

func TestCurlAndNginx(t *testing.T) {
	curl := program(t, "curl")
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	os.Mkdir(dir+"/www", 0o755)
	text := bytes.Repeat([]byte("compressible text, a line of it\n"), 2000)
	os.WriteFile(dir+"/www/a.txt", text, 0o644)
	png := make([]byte, 70_000)
	os.WriteFile(dir+"/www/b.png", png, 0o644)
	os.WriteFile(dir+"/big", make([]byte, 1<<20), 0o644)
	h1, h2 := startNginx(t, dir)

	type want struct {
		method, target string
		status         int
		decoded        int // -1: whatever
	}
	a, b := len(text), len(png)
	for name, c := range map[string]struct {
		h2    bool
		args  string // URL is replaced
		wants []want
	}{
		"reuse":      {false, "URL/a.txt URL/b.png URL/none", []want{{"GET", "/a.txt", 200, a}, {"GET", "/b.png", 200, b}, {"GET", "/none", 404, -1}}},
		"compressed": {false, "--compressed URL/a.txt", []want{{"GET", "/a.txt", 200, a}}},
		"head":       {false, "-I URL/a.txt URL/b.png", []want{{"HEAD", "/a.txt", 200, 0}, {"HEAD", "/b.png", 200, 0}}},
		"1.0":        {false, "-0 URL/a.txt", []want{{"GET", "/a.txt", 200, a}}},
		"range":      {false, "-r 10-19 URL/b.png", []want{{"GET", "/b.png", 206, 10}}},
		"redirect":   {false, "-L URL/moved", []want{{"GET", "/moved", 301, -1}, {"GET", "/a.txt", 200, a}}},
		"post":       {false, "-d x=1&y=2 URL/echo", []want{{"POST", "/echo", 200, 7}}},
		"chunked":    {false, "-T DIR/www/a.txt -HTransfer-Encoding:chunked -HExpect:100-continue URL/echo", []want{{"PUT", "/echo", 200, -1}}},
		"form":       {false, "-F f=@DIR/www/b.png -F g=h URL/echo", []want{{"POST", "/echo", 200, -1}}},
		"too large":  {false, "-T DIR/big -HExpect: URL/echo", []want{{"PUT", "/echo", 413, -1}}},
		"h2 get":     {true, "URL/b.png", []want{{"GET", "/b.png", 200, b}}}, // curl 7.88 can't reuse such a connection
		"h2 zipped":  {true, "--compressed URL/a.txt", []want{{"GET", "/a.txt", 200, a}}},
		"h2 head":    {true, "-I URL/a.txt", []want{{"HEAD", "/a.txt", 200, 0}}},
		"h2 post":    {true, "-d x=1&y=2 URL/up", []want{{"POST", "/up", 200, 7}}},
		"h2 upload":  {true, "-T DIR/www/b.png URL/up", []want{{"PUT", "/up", 200, -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, args := h1, []string{"-sS", "--output-dir", t.TempDir(), "--remote-name-all", "-D", dir + "/headers"}
			if c.h2 {
				addr, args = h2, append(args, "--http2-prior-knowledge")
			}
			r := newRelay(t, addr)
			for _, f := range strings.Fields(c.args) {
				args = append(args, strings.NewReplacer("URL", "http://"+r.Addr().String(), "DIR", dir).Replace(f))
			}
			if out, err := exec.Command(curl, args...).CombinedOutput(); err != nil && name != "too large" {
				t.Fatalf("curl: %v %s", err, out)
			}
			dump, _ := os.ReadFile(dir + "/headers")
			got := outcomes(r.finish())
			if len(got) != len(c.wants) {
				t.Errorf("%d exchanges, want %d", len(got), len(c.wants))
			}
			for _, w := range c.wants {
				i := slices.IndexFunc(got, func(o *outcome) bool { return o.method == w.method && o.target == w.target })
				if i < 0 {
					t.Errorf("no %s %s", w.method, w.target)
					continue
				}
				o := got[i]
				if o.status != w.status || o.failure != "" || w.decoded >= 0 && o.decoded != uint64(w.decoded) || o.problem != "" && name != "too large" {
					t.Errorf("%+v, want %+v", *o, w)
				}
				if !c.h2 && !bytes.Contains(dump, []byte(o.raw)) {
					t.Errorf("head %q is not in what curl saw:\n%s", o.raw, dump)
				}
				if strings.Contains(c.args, "--compressed") && (o.wire == 0 || o.wire > o.decoded/2) {
					t.Errorf("%d bytes on the wire for %d", o.wire, o.decoded)
				}
			}
		})
	}
}

func TestH2load(t *testing.T) {
	h2load := program(t, "h2load")
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	os.Mkdir(dir+"/www", 0o755)
	os.WriteFile(dir+"/www/a.txt", []byte("a small body, a small body"), 0o644)
	_, h2 := startNginx(t, dir)
	r := newRelay(t, h2)
	out, err := exec.Command(h2load, "-n", "3000", "-c", "4", "-m", "32", "--no-tls-proto=h2c", "http://"+r.Addr().String()+"/a.txt").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "3000 succeeded") {
		t.Fatalf("h2load: %v %s", err, out)
	}
	good := 0
	for _, o := range outcomes(r.finish()) {
		if o.status == 200 && o.decoded == 26 && o.failure == "" && o.problem == "" {
			good++
		} else {
			t.Errorf("%+v", *o)
		}
	}
	if good != 3000 {
		t.Errorf("%d exchanges, want 3000", good)
	}
}

func TestWebSocketPair(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprint("compressed ", compressed), func(t *testing.T) {
			up := websocket.Upgrader{EnableCompression: compressed}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := up.Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer c.Close()
				for {
					kind, b, err := c.ReadMessage()
					if err != nil {
						return
					}
					c.WriteMessage(kind, append([]byte("echo "), b...))
				}
			}))
			defer srv.Close()
			r := &recorder{}
			d := websocket.Dialer{NetDial: r.dial, EnableCompression: compressed}
			c, _, err := d.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for i := range 50 {
				text := strings.Repeat(fmt.Sprint("message ", i, " "), i*i)
				kind := websocket.TextMessage
				if i%5 == 4 {
					kind = websocket.BinaryMessage
				}
				c.WriteMessage(kind, []byte(text))
				if _, b, err := c.ReadMessage(); err != nil || string(b) != "echo "+text {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprintf("0 %d %.60s %d", kind, text, len(text)), fmt.Sprintf("1 %d %.60s %d", kind, "echo "+text, len(text)+5))
			}
			c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "done"))
			c.ReadMessage()
			c.Close()
			want = append(want, "0 8 1000 (normal closure) done 6", "1 8 1000 (normal closure) 2")
			var got []string
			s := New()
			for i := range r.records {
				s.Process(&r.records[i], func(rec *bus.Record) {
					if e, ok := rec.Event.(*bus.Event); ok && e.Type == bus.EventMessage {
						if e.Message.Problem != "" {
							t.Errorf("problem: %s", e.Message.Problem)
						}
						got = append(got, fmt.Sprintf("%d %d %.60s %d", e.Dir, e.Message.Opcode, e.Message.Text+string(e.Message.Binary), e.Message.Size))
					} else if ok && e.Type == bus.EventFailed {
						t.Errorf("failed: %s", e.Failure.Reason)
					}
				})
			}
			if !slices.Equal(got, want) {
				t.Error(firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
		})
	}
}
