package integration

import (
	"crypto/tls"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// TestKeyVerdicts: a connection that cannot be read says which library it is, why
// there is no way in, and what would help.
func TestKeyVerdicts(t *testing.T) {
	f := newFetcher(t)
	wolf := f.cc("wolfssl", "wolfssl", "-lwolfssl")
	if !strings.HasPrefix(wolf, "/") {
		t.Skip(wolf)
	}
	mbed := f.cc("mbedtls", "mbedtls", "-lmbedtls", "-lmbedx509", "-lmbedcrypto")
	if !strings.HasPrefix(mbed, "/") {
		t.Skip(mbed)
	}
	for _, c := range []struct {
		name         string
		argv         func(bin, url string) []string
		bin          string
		reason, help string
	}{
		{"wolfSSL", shell("exec $BIN localhost $3 $4"), wolf, "The program's TLS library is wolfssl. ", "--enable-keylog-export"},
		// mbed TLS needs no environment and has no key log: only the hook could read it.
		{"under strace", shell("exec strace -f -o /dev/null $BIN localhost $3 $4"), mbed, "was being traced already", "Attach the tracer when the program has started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, _ := truthServer(t, truth.Options{MaxVersion: tls.VersionTLS12, Close: true})
			w := plainUser(t)
			har := filepath.Join(w.dir(t), "out.har")
			cmd := w.command(t, append([]string{clipper(t), "up", "--no-devtools", "--har", har, "--"}, c.argv(c.bin, srv.URL+keysPath)...)...)
			cmd.Env = append(cmd.Env, "BIN="+c.bin)
			r := finish(t, cmd)
			if r.code != 0 || srv.Count() == 0 {
				t.Fatalf("exit %d, %d exchanges\n%s%s", r.code, srv.Count(), r.stdout, r.stderr)
			}
			h := readHAR(t, har)
			found := false
			for _, v := range h.Log.Verdicts {
				found = found || v.Code == "no-secret" && strings.Contains(v.Reason, c.reason) && strings.Contains(v.Help, c.help)
			}
			if !found || !strings.Contains(r.stderr, c.reason) || !strings.Contains(r.stderr, c.help) {
				t.Errorf("verdicts %+v\n%s", h.Log.Verdicts, r.stderr)
			}
		})
	}
}
