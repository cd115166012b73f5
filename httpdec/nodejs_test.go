package httpdec

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/bus"
)

// nodeServer speaks HTTP/1.1 and, on another port, HTTP/2 without TLS.
const nodeServer = `
const http = require('http'), http2 = require('http2'), zlib = require('zlib');
const body = 'a line of text, '.repeat(5000);
function answer(req, res) {
  let n = 0;
  req.on('data', d => n += d.length);
  req.on('end', () => {
    const path = req.url.split('?')[0];
    const z = {'/gzip': zlib.gzipSync, '/br': zlib.brotliCompressSync, '/deflate': zlib.deflateSync}[path];
    if (z) { res.setHeader('Content-Encoding', path.slice(1)); res.end(z(body)); return; }
    switch (path) {
    case '/hints': res.writeEarlyHints({link: '</style.css>; rel=preload'}); res.end('hinted'); break;
    case '/trailers':
      res.writeHead(200, {Trailer: 'x-sum'}); res.write('with trailers'); res.addTrailers({'x-sum': '7'}); res.end(); break;
    case '/events': res.writeHead(200, {'Content-Type': 'text/event-stream'}); res.write('data: one\n\n'); res.end('id: 2\ndata: two\n\n'); break;
    case '/cut': res.writeHead(200, {'Content-Length': 100}); res.write('only this', () => (res.stream || res.socket).destroy()); break;
    case '/push': res.stream.pushStream({':path': '/pushed'}, (e, s) => { s.respond({':status': 200}); s.end('pushed'); res.end('pushing'); }); break;
    default: res.end(req.method + ' ' + n);
    }
  });
}
const a = http.createServer(answer), b = http2.createServer(answer);
b.on('sessionError', () => {});
a.listen(0, '127.0.0.1', () => b.listen(0, '127.0.0.1', () => console.log(a.address().port + ' ' + b.address().port)));
`

// nodeClient asks for everything over both.
const nodeClient = `
const http = require('http'), http2 = require('http2');
const [h1, h2] = process.argv.slice(2);
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
const one = (path, method, body, o) => new Promise(done => {
  const [host, port] = h1.split(':');
  const r = http.request({host, port, path, method, agent, ...o}, res => { res.resume(); res.on('close', done); });
  r.on('error', done);
  r.end(body);
});
const paths = ['/plain', '/gzip', '/br', '/deflate', '/hints', '/trailers', '/events'];
(async () => {
  for (const p of paths) await one(p, 'GET');
  await one('/post', 'POST', 'x'.repeat(70000));
  await one('/cut', 'GET', undefined, {agent: false});
  agent.destroy();
  const c = http2.connect('http://' + h2);
  c.on('error', () => {});
  const two = (path, method, body) => new Promise(done => {
    const s = c.request({':path': path, ':method': method});
    s.on('error', done); s.on('close', done); s.resume(); s.end(body);
  });
  await Promise.all(paths.filter(p => p != '/hints').map(p => two(p, 'GET')));
  await two('/post', 'POST', 'x'.repeat(70000));
  c.on('stream', s => s.resume());
  await two('/push', 'GET');
  await two('/cut', 'GET');
  c.close();
})();
`

func TestNode(t *testing.T) {
	node := program(t, "node")
	dir := t.TempDir()
	for name, text := range map[string]string{"server.js": nodeServer, "client.js": nodeClient} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.Command(node, filepath.Join(dir, "server.js"))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	ports := strings.Fields(line)
	h1, h2 := newRelay(t, "127.0.0.1:"+ports[0]), newRelay(t, "127.0.0.1:"+ports[1])
	if out, err := exec.Command(node, filepath.Join(dir, "client.js"), h1.Addr().String(), h2.Addr().String()).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	const whole = 80_000 // bytes of the text
	for _, c := range []struct {
		r    *relay
		want []string
	}{
		{h1, []string{
			fmt.Sprintf("GET /br 200 %d", whole), "GET /cut 200 0 fin-mid-body", fmt.Sprintf("GET /deflate 200 %d", whole), "GET /events 200 28 2 messages",
			fmt.Sprintf("GET /gzip 200 %d", whole), "GET /hints 200 6 after 103", "GET /plain 200 5", "GET /trailers 200 13 x-sum=7", "POST /post 200 10"}},
		{h2, []string{
			fmt.Sprintf("GET /br 200 %d", whole), "GET /cut 200 0 stream-reset-by-server", fmt.Sprintf("GET /deflate 200 %d", whole), "GET /events 200 28 2 messages",
			fmt.Sprintf("GET /gzip 200 %d", whole), "GET /plain 200 5", "GET /push 200 7", "GET /pushed 200 6", "GET /trailers 200 13 x-sum=7", "POST /post 200 10"}},
	} {
		if got := summaries(c.r.finish()); !slices.Equal(got, c.want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// summaries has a line for each exchange, sorted.
func summaries(events []bus.Event) (list []string) {
	for _, o := range outcomes(events) {
		s := fmt.Sprintf("%s %s %d %d", o.method, o.target, o.status, o.decoded)
		if o.interim != 0 {
			s += fmt.Sprint(" after ", o.interim)
		}
		if o.messages != 0 {
			s += fmt.Sprint(" ", o.messages, " messages")
		}
		for _, f := range o.trailers {
			s += " " + f.Name + "=" + f.Value
		}
		for _, p := range []string{o.failure, o.problem} {
			if p != "" {
				s += " " + p
			}
		}
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}
