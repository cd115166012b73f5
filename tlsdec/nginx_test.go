package tlsdec

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/porttest"
)

// TestNginx: curl asks nginx for a file, in each version, twice over the same session.
func TestNginx(t *testing.T) {
	for _, p := range []string{"nginx", "curl"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	rsa, _ := pemFiles(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := text(300_000, 3)
	addr := porttest.TCP(t, "127.0.0.1").String()
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
	server {
		listen %[2]s ssl; root %[1]s;
		ssl_certificate %[3]s; ssl_certificate_key %[3]s; ssl_session_cache shared:x:1m;
		ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0; ssl_buffer_size 4k;
	}
}
`, dir, addr, rsa)
	for name, b := range map[string][]byte{"nginx.conf": []byte(config), "file": file} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start(t, addr, "nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	for _, version := range []string{"1.0", "1.1", "1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "keys")
			r := newRecorder()
			through(t, r, addr, func(addr string) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				url := "https://" + addr + "/file"
				cmd := exec.CommandContext(ctx, "curl", "-sSk", "--http1.1", "--ciphers", "ALL:@SECLEVEL=0", "--tlsv"+version, "--tls-max", version, "-o", os.DevNull, "-o", os.DevNull, url, url)
				cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+log, "no_proxy=*")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			})
			keys, err := os.ReadFile(log)
			if err != nil {
				t.Skip("this curl writes no key log")
			}
			tr := r.end()
			tr.secrets = parseKeyLog(t, string(keys))
			for _, records := range [][]bus.Record{tr.records, rechunk(tr.records, func() int { return 1000 })} {
				o := decode(t, &trace{records: records, secrets: tr.secrets})
				plain := bufio.NewReader(bytes.NewReader(o.plain[1]))
				for range 2 {
					resp, err := http.ReadResponse(plain, nil)
					if err != nil {
						t.Fatalf("%v; %+v", err, o.verdicts)
					}
					if b, _ := io.ReadAll(resp.Body); !bytes.Equal(b, file) {
						t.Errorf("a body of %d bytes", len(b))
					}
				}
				if o.info.Version != "TLS "+version || len(o.verdicts) > 0 {
					t.Errorf("%+v %+v", o.info, o.verdicts)
				}
			}
		})
	}
}
