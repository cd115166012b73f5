package tlsdec

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/porttest"
)

// reauth makes gnutls-serv ask for the client's certificate.
const reauth = "**REAUTH**"

// gnutlsPriority is a priority string for one version and cipher.
func gnutlsPriority(version, cipher string) string {
	return "NORMAL:-VERS-ALL:+VERS-" + version + ":-CIPHER-ALL:+" + cipher + ":+SHA256:+SHA384:+MD5"
}

// startGnuTLS runs a `gnutls-serv --echo`.
func startGnuTLS(t testing.TB, args ...string) (addr string) {
	t.Helper()
	for _, p := range []string{"gnutls-serv", "gnutls-cli"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	rsa, _ := pemFiles(t)
	addr = porttest.TCP(t, "127.0.0.1").String()
	_, port, _ := net.SplitHostPort(addr)
	start(t, addr, "gnutls-serv", append([]string{"--echo", "--quiet", "--port", port, "--x509certfile", rsa, "--x509keyfile", rsa}, args...)...)
	return addr
}

// askGnuTLS runs `gnutls-cli`, which sends the lines, each after the echo of the one
// before, and returns the trace. The line reauth is a command for the server.
func askGnuTLS(t testing.TB, server string, lines []string, args ...string) *trace {
	t.Helper()
	r := newRecorder()
	log := filepath.Join(t.TempDir(), "keys")
	through(t, r, server, func(addr string) {
		host, port, _ := net.SplitHostPort(addr)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "gnutls-cli", append([]string{"--no-ca-verification", "--sni-hostname", "example.test", "--port", port, host, "--logfile", os.DevNull}, args...)...)
		cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+log)
		stdin, _ := cmd.StdinPipe()
		stdout, _ := cmd.StdoutPipe()
		var stderr keyLog
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReaderSize(stdout, 1<<20)
		for _, line := range lines {
			io.WriteString(stdin, line+"\n")
			want := line + "\n"
			if line == reauth {
				want = "Successfully executed command\n"
			}
			if got, err := out.ReadString('\n'); err != nil || got != want {
				t.Errorf("answer %.80q (%v): %s", got, err, stderr.String())
				break
			}
			r.trace.sent[0] = append(r.trace.sent[0], line+"\n"...)
			r.trace.sent[1] = append(r.trace.sent[1], want...)
		}
		stdin.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	keys, _ := os.ReadFile(log)
	r.trace.secrets = parseKeyLog(t, string(keys))
	return r.end()
}

// TestGnuTLS talks in every version with every cipher that GnuTLS has.
func TestGnuTLS(t *testing.T) {
	server := startGnuTLS(t, "--priority", "NORMAL:+VERS-TLS1.1:+VERS-TLS1.0:+CAMELLIA-128-GCM:+CAMELLIA-256-GCM:+CAMELLIA-128-CBC:+CAMELLIA-256-CBC:+AES-128-CCM-8:+ARCFOUR-128:+3DES-CBC:+NULL:+SHA256:+SHA384:+MD5")
	modern := startGnuTLS(t, "--priority", "NORMAL:+AES-128-CCM-8")
	lines := []string{"hello", strings.Repeat("long line ", 1500), strings.Repeat("y", 15)}
	ciphers := map[string][]string{
		"TLS1.3": {"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-CCM", "AES-128-CCM-8"},
		"TLS1.2": {"AES-128-GCM", "CHACHA20-POLY1305", "AES-256-CCM", "AES-128-CCM-8", "CAMELLIA-128-GCM", "CAMELLIA-256-GCM", "CAMELLIA-128-CBC", "CAMELLIA-256-CBC", "AES-256-CBC", "3DES-CBC", "ARCFOUR-128", "NULL"},
		"TLS1.1": {"AES-128-CBC", "3DES-CBC", "ARCFOUR-128"},
		"TLS1.0": {"CAMELLIA-128-CBC", "3DES-CBC", "ARCFOUR-128"},
	}
	for version, list := range ciphers {
		for _, cipher := range list {
			options := []string{""}
			if strings.HasSuffix(cipher, "CBC") {
				options = append(options, ":%NO_ETM")
			}
			for _, option := range options {
				t.Run(version+" "+cipher+option, func(t *testing.T) {
					peer := server // it speaks no TLS 1.3, as it offers what that has not
					if version == "TLS1.3" {
						peer = modern
					}
					tr := askGnuTLS(t, peer, lines, "--priority", gnutlsPriority(version, cipher)+option)
					o := decode(t, tr)
					o.wantPlain(t, tr)
					if o.info == nil || strings.ReplaceAll(o.info.Version, " ", "") != version || o.info.Finished == 0 || len(o.verdicts) > 0 || o.info.SNI != "example.test" {
						t.Errorf("%+v %+v", o.info, o.verdicts)
					}
				})
			}
		}
	}
}

// TestGnuTLSOptions: what else GnuTLS can be asked for.
func TestGnuTLSOptions(t *testing.T) {
	rsa, _ := pemFiles(t)
	server := startGnuTLS(t, "--earlydata", "--maxearlydata", "4096", "--compress-cert", "zlib", "--compress-cert", "brotli")
	strict := startGnuTLS(t, "--require-client-cert")
	early := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(early, []byte("early\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]struct {
		lines []string
		args  []string
		check func(t *testing.T, tr *trace, o *output)
	}{
		"client certificate, 1.3": {[]string{"one"}, []string{"--x509certfile", rsa, "--x509keyfile", rsa}, wantsClientCertificate},
		"client certificate, 1.2": {[]string{"one"}, []string{"--x509certfile", rsa, "--x509keyfile", rsa, "--priority", "NORMAL:-VERS-TLS1.3"}, wantsClientCertificate},
		"post-handshake auth":     {[]string{"one", reauth, "two"}, []string{"--post-handshake-auth", "--x509certfile", rsa, "--x509keyfile", rsa}, wantsClientCertificate},
		"record size limit":       {[]string{strings.Repeat("z", 400)}, []string{"--recordsize", "512"}, nil},
		"record size limit, 1.2":  {[]string{strings.Repeat("z", 400)}, []string{"--recordsize", "512", "--priority", "NORMAL:-VERS-TLS1.3"}, nil},
		"compressed certificate":  {[]string{"one"}, []string{"--compress-cert", "brotli"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			peer := server
			if k.check != nil {
				peer = strict
			}
			tr := askGnuTLS(t, peer, k.lines, k.args...)
			o := decode(t, tr)
			o.wantPlain(t, tr)
			if len(o.verdicts) > 0 || len(o.info.Certificates) != 1 || o.info.Finished == 0 {
				t.Errorf("%+v %+v", o.info, o.verdicts)
			}
			if k.check != nil {
				k.check(t, tr, o)
			}
		})
	}
	t.Run("resumption with early data", func(t *testing.T) {
		// gnutls-cli makes both connections itself; the second is the one with early data.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		log := filepath.Join(t.TempDir(), "keys")
		traces := []*recorder{newRecorder(), newRecorder()}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, r := range traces {
				a, err := l.Accept()
				if err != nil {
					return
				}
				b, err := net.Dial("tcp", server)
				if err != nil {
					a.Close()
					return
				}
				r.relay(a, b)
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "gnutls-cli", "--no-ca-verification", "--sni-hostname", "example.test", "--port", port, "127.0.0.1", "--logfile", os.DevNull, "-r", "--waitresumption", "--earlydata", early, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3")
		cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+log)
		cmd.Stdin = strings.NewReader("late\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out)
		}
		l.Close()
		<-done
		keys, _ := os.ReadFile(log)
		tr := traces[1].end()
		tr.secrets = parseKeyLog(t, string(keys))
		o := decode(t, tr)
		if o.info == nil || !o.info.Resumed || bytes.HasPrefix(o.plain[0], []byte("early\n")) != o.info.EarlyData || !bytes.HasSuffix(o.plain[0], []byte("late\n")) {
			t.Errorf("%+v %q %+v", o.info, o.plain[0], o.verdicts)
		}
		if !o.info.EarlyData {
			return // the server takes it for a replay, when this machine is slow
		}
		for _, r := range o.records {
			if r.Type == bus.Data && r.Dir == bus.ClientToServer && (r.Flags&bus.Early != 0) != (r.Offset < 6) {
				t.Errorf("flags %d at offset %d", r.Flags, r.Offset)
			}
		}
	})
}

func wantsClientCertificate(t *testing.T, tr *trace, o *output) {
	if len(o.info.ClientCertificates) != 1 || !bytes.Equal(o.info.ClientCertificates[0], testKeys().rsa.Certificate[0]) {
		t.Errorf("%d client certificates", len(o.info.ClientCertificates))
	}
}
