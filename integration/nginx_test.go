package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"clipper/bus/porttest"
	"clipper/integration/truth"
)

// nginxServer is a real nginx on the host's loopback, TLS 1.2 and 1.3, HTTP/1.1
// and HTTP/2, that logs what it saw as JSON.
type nginxServer struct {
	port   uint16
	ca     string // path of its certificate
	access string // path of its log
}

// The request body is in the log because the request is proxied, within the same nginx.
const nginxConf = `
daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1; user root;
events { worker_connections 1024; }
http {
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  access_log off;
  log_format truth escape=json '{"method":"$request_method","url":"https://$http_host$request_uri","status":$status,"proto":"$server_protocol",'
    '"tls":"$ssl_protocol","requestBody":"$request_body","request":{"user-agent":"$http_user_agent","accept":"$http_accept","x-one":"$http_x_one"},'
    '"response":{"content-type":"$sent_http_content_type","content-length":"$sent_http_content_length","x-two":"$sent_http_x_two"}}';
  server {
    listen 127.0.0.1:%[1]d ssl http2; server_name localhost;
    ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;
    access_log access.log truth;
    location / { root html; add_header X-Two 2; }
    location /post { client_body_in_single_buffer on; client_body_buffer_size 1m; proxy_pass http://127.0.0.1:%[2]d; add_header X-Two 2; }
  }
  server { listen 127.0.0.1:%[2]d; location / { default_type text/plain; return 201 "taken\n"; } }
}
`

func startNginx(t *testing.T) *nginxServer {
	t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	_, cert, key, err := truth.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	at, proxied := porttest.TCP(t, "127.0.0.1"), porttest.TCP(t, "127.0.0.1")
	n := &nginxServer{port: at.Port(), ca: filepath.Join(dir, "cert.pem"), access: filepath.Join(dir, "access.log")}
	for name, b := range map[string][]byte{
		"cert.pem": cert, "key.pem": key, "html/small.txt": []byte("small\n"), "html/big.bin": bytes.Repeat([]byte("clipper!"), 64<<10),
		"nginx.conf": fmt.Appendf(nil, nginxConf, n.port, proxied.Port()), "tmp/x": nil,
	} {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o755)
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(bin, "-p", dir, "-c", "nginx.conf", "-e", "stderr")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	porttest.Await(t, at.String())
	return n
}

// nginxLine is one line of nginx's log.
type nginxLine struct {
	Method, URL, Proto, TLS, RequestBody string
	Status                               int
	Request, Response                    map[string]string
}

// log waits for so many lines: nginx writes each after the response.
func (n *nginxServer) log(t *testing.T, lines int) []nginxLine {
	t.Helper()
	var b []byte
	eventually(t, fmt.Sprint(lines, " lines in nginx's log"), func() bool {
		b = readFile(t, n.access)
		return bytes.Count(b, []byte("\n")) >= lines
	})
	var all []nginxLine
	for line := range strings.Lines(string(b)) {
		var l nginxLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in nginx's log: %s", err, line)
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b nginxLine) int { return strings.Compare(a.URL, b.URL) })
	return all
}
