package integration

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"clipper/integration/truth"
)

// TestHTTP3 runs ngtcp2's client, with GnuTLS, against its server: another QUIC, and fields in
// QPACK's dynamic table. The second run resumes the session and sends its requests as 0-RTT.
func TestHTTP3(t *testing.T) {
	for _, p := range []string{"gtlsclient", "gtlsserver"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	_, cert, key, err := truth.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	file := make([]byte, 200_000)
	random := rand.NewChaCha8([32]byte{3})
	random.Read(file)
	dir := t.TempDir()
	for name, b := range map[string][]byte{"cert": cert, "key": key, "file.bin": file} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	everybody(t, func(t *testing.T, w who) {
		// The server makes its socket itself. Until it has, the client sends again.
		free, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free.Close()
		port := strconv.Itoa(free.LocalAddr().(*net.UDPAddr).Port)
		server := exec.Command("gtlsserver", "-q", "-d", dir, "127.0.0.1", port, filepath.Join(dir, "key"), filepath.Join(dir, "cert"))
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			server.Process.Kill()
			server.Wait()
		}()
		out := w.dir(t)
		url := "https://localhost:" + port
		for _, resumed := range []bool{false, true} {
			har := filepath.Join(out, strconv.FormatBool(resumed)+".har")
			r := finish(t, w.command(t, clipper(t), "up", "--no-devtools", "--har", har, "--",
				"gtlsclient", "-q", "--exit-on-all-streams-close", "--session-file", filepath.Join(out, "session"), "--tp-file", filepath.Join(out, "tp"),
				"127.0.0.1", port, url+"/file.bin", url+"/none"))
			if r.code != 0 {
				t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			h := readHAR(t, har)
			if len(h.Log.Entries) != 2 || len(h.Log.Verdicts) != 0 {
				t.Fatalf("%d entries, verdicts %+v\n%s", len(h.Log.Entries), h.Log.Verdicts, r.stderr)
			}
			for i, want := range []struct {
				path   string
				status int
				body   []byte
			}{{"/file.bin", 200, file}, {"/none", 404, nil}} {
				e := h.Log.Entries[i]
				got := body(t, e.Response.Content.Text, e.Response.Content.Encoding)
				if e.Request.URL != url+want.path || e.Response.Status != want.status || e.Request.HTTPVersion != "HTTP/3" ||
					want.body != nil && !bytes.Equal(got, want.body) || e.Command == "" {
					t.Errorf("%s %d %s, %d bytes, of %q; want %+v", e.Request.URL, e.Response.Status, e.Request.HTTPVersion, len(got), e.Command, want.path)
				}
			}
			if resumed != h.Log.Entries[0].TLS.EarlyData {
				t.Errorf("resumed %v, TLS %+v", resumed, h.Log.Entries[0].TLS)
			}
			nothingLeft(t, r)
		}
	})
}
