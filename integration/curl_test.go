package integration

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// variants are the protocols that every client is tried with.
var variants = []struct {
	name, httpFlag, tlsFlag, version string
	max                              uint16
}{
	{"h1-tls12", "--http1.1", "--tls-max 1.2", "TLS 1.2", tls.VersionTLS12},
	{"h1-tls13", "--http1.1", "--tlsv1.3", "TLS 1.3", tls.VersionTLS13},
	{"h2-tls12", "--http2", "--tls-max 1.2", "TLS 1.2", tls.VersionTLS12},
	{"h2-tls13", "--http2", "--tlsv1.3", "TLS 1.3", tls.VersionTLS13},
}

// truthServer starts a server and stores its certificate where everybody can read it.
func truthServer(t testing.TB, o truth.Options) (s *truth.Server, ca string) {
	t.Helper()
	s, err := truth.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	dir, err := os.MkdirTemp(workDir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	ca = filepath.Join(dir, "ca.pem")
	if err := s.WriteCA(ca); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

func TestCurlAgainstGo(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		s, ca := truthServer(t, truth.Options{})
		har := filepath.Join(w.dir(t), "out.har")
		var script strings.Builder
		script.WriteString("set -e\n")
		for _, v := range variants {
			curl := fmt.Sprintf("curl -sS --cacert %s %s %s", ca, v.httpFlag, v.tlsFlag)
			u := s.URL
			fmt.Fprintf(&script, "%s %s/json/%s %s/size/100000?v=%s -o /dev/null -o /dev/null\n", curl, u, v.name, u, v.name)
			fmt.Fprintf(&script, "%s -H 'X-Case: One' -H 'x-case: two' --data-binary 'text ä %s' %s/echo/%s >/dev/null\n", curl, v.name, u, v.name)
			fmt.Fprintf(&script, "head -c 70000 /dev/zero | %s -H 'Content-Type: application/octet-stream' --data-binary @- '%s/upload/%s' >/dev/null\n", curl, u, v.name)
			fmt.Fprintf(&script, "%s -I %s/size/5?head=%s >/dev/null\n", curl, u, v.name)
			fmt.Fprintf(&script, "%s %s/status/404?%s >/dev/null\n", curl, u, v.name)
		}
		r := run(t, w, "up", "--no-devtools", "--har", har, "--", "sh", "-c", script.String())
		if r.code != 0 {
			t.Fatalf("exit %d\n%s", r.code, r.stderr)
		}
		h := readHAR(t, har)
		sameAsServer(t, h, s.Log())
		for _, e := range h.Log.Entries {
			i := slices.IndexFunc(variants, func(v struct {
				name, httpFlag, tlsFlag, version string
				max                              uint16
			}) bool {
				return strings.Contains(e.Request.URL, v.name)
			})
			if i < 0 || e.TLS.Version != variants[i].version {
				t.Errorf("%s: TLS %q", e.Request.URL, e.TLS.Version)
			}
			if !strings.Contains(e.Command, "curl") || e.PID == 0 {
				t.Errorf("%s: process %d %q, want curl", e.Request.URL, e.PID, e.Command)
			}
		}
		nothingLeft(t, r)
	})
}

func TestCurlAgainstNginx(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		n := startNginx(t)
		ca := filepath.Join(w.dir(t), "ca.pem")
		os.WriteFile(ca, readFile(t, n.ca), 0o644)
		os.Chmod(filepath.Dir(ca), 0o755)
		har := filepath.Join(w.dir(t), "out.har")
		var script strings.Builder
		script.WriteString("set -e\n")
		for _, v := range variants {
			curl := fmt.Sprintf("curl -sS --cacert %s %s %s -H 'X-One: 1'", ca, v.httpFlag, v.tlsFlag)
			u := fmt.Sprintf("https://localhost:%d", n.port)
			fmt.Fprintf(&script, "%s %s/small.txt?%s %s/big.bin?%s -o /dev/null -o /dev/null\n", curl, u, v.name, u, v.name)
			fmt.Fprintf(&script, "%s -d 'a=1&v=%s' %s/post?%s >/dev/null\n", curl, v.name, u, v.name)
			fmt.Fprintf(&script, "%s %s/missing?%s >/dev/null\n", curl, u, v.name)
		}
		r := run(t, w, "up", "--no-devtools", "--har", har, "--", "sh", "-c", script.String())
		if r.code != 0 {
			t.Fatalf("exit %d\n%s", r.code, r.stderr)
		}
		entries := readHAR(t, har).Log.Entries
		slices.SortFunc(entries, func(a, b harEntry) int { return strings.Compare(a.Request.URL, b.Request.URL) })
		log := n.log(t, 4*len(variants))
		if len(entries) != len(log) || len(log) != 4*len(variants) {
			t.Fatalf("%d entries in the HAR, %d lines in nginx's log, %d requests made", len(entries), len(log), 4*len(variants))
		}
		for i, e := range entries {
			l, x := log[i], e.exchange(t)
			if x.Method != l.Method || x.URL != l.URL || x.Status != l.Status || x.Proto != l.Proto || strings.Replace(e.TLS.Version, "TLS ", "TLSv", 1) != l.TLS {
				t.Errorf("clipper saw %+v %s, nginx %+v", x, e.TLS.Version, l)
			}
			if x.RequestBody != truth.Hash([]byte(l.RequestBody)) {
				t.Errorf("%s: the request body differs from nginx's %q", x.URL, l.RequestBody)
			}
			for name, v := range l.Request {
				if !slices.Contains(x.RequestHeaders, name+": "+v) {
					t.Errorf("%s: request header %s: %s is not in %q", x.URL, name, v, x.RequestHeaders)
				}
			}
			for name, v := range l.Response {
				if v != "" && !slices.Contains(x.ResponseHeaders, name+": "+v) {
					t.Errorf("%s: response header %s: %s is not in %q", x.URL, name, v, x.ResponseHeaders)
				}
			}
			want := map[string]string{"small": truth.Hash([]byte("small\n")), "big": truth.Hash([]byte(strings.Repeat("clipper!", 64<<10))), "post": truth.Hash([]byte("taken\n"))}
			for name, hash := range want {
				if strings.Contains(x.URL, "/"+name) && x.ResponseBody != hash {
					t.Errorf("%s: another response body (%d bytes)", x.URL, e.Response.Content.Size)
				}
			}
		}
		nothingLeft(t, r)
	})
}
