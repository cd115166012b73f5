package tlsdec

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/porttest"
)

// opensslServer is a running `openssl s_server -rev`, which answers each line reversed.
type opensslServer struct {
	addr string
}

func needOpenSSL(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
}

// pemFiles writes the test certificates with their keys into files.
func pemFiles(t testing.TB) (rsa, ecdsa string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, der []byte, key any) string {
		k, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		b := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})...)
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	k := testKeys()
	return write("rsa.pem", k.rsa.Certificate[0], k.rsa.PrivateKey), write("ecdsa.pem", k.ecdsa.Certificate[0], k.ecdsa.PrivateKey)
}

// dsaFile makes a DSA certificate with its key.
func dsaFile(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key"), filepath.Join(dir, "cert")
	for _, args := range [][]string{{"dsaparam", "-genkey", "-noout", "-out", key, "1024"}, {"req", "-x509", "-new", "-key", key, "-out", cert, "-subj", "/CN=example.test", "-days", "9999"}} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v: %s", args[0], err, out)
		}
	}
	k, _ := os.ReadFile(key)
	c, _ := os.ReadFile(cert)
	path := filepath.Join(dir, "dsa.pem")
	if err := os.WriteFile(path, append(k, c...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a server program until the test ends and waits for its port.
func start(t testing.TB, addr string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	stdin, _ := cmd.StdinPipe() // kept open: some servers stop at its end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %s", name, stderr.String())
		}
	})
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() })
	porttest.Await(t, addr)
}

func startOpenSSL(t testing.TB, args ...string) opensslServer {
	t.Helper()
	needOpenSSL(t)
	rsa, ecdsa := pemFiles(t)
	addr := porttest.TCP(t, "127.0.0.1").String()
	start(t, addr, "openssl", append([]string{"s_server", "-accept", addr, "-rev", "-cert", rsa, "-dcert", ecdsa, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"}, args...)...)
	return opensslServer{addr}
}

// through records one connection to server that dial makes to the address it is given.
func through(t testing.TB, r *recorder, server string, dial func(addr string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
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
	}()
	dial(l.Addr().String())
	l.Close()
	<-done
}

// ask runs `openssl s_client`, sends the lines, each after the answer to the one before,
// and returns the trace. Lines of one letter are commands of s_client.
func (s opensslServer) ask(t testing.TB, lines []string, args ...string) (*trace, error) {
	t.Helper()
	r := newRecorder()
	log := filepath.Join(t.TempDir(), "keys")
	var failure error
	through(t, r, s.addr, func(addr string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", addr, "-quiet", "-no_ign_eof", "-servername", "example.test", "-keylogfile", log}, args...)...)
		stdin, _ := cmd.StdinPipe()
		stdout, _ := cmd.StdoutPipe()
		var stderr keyLog
		commands := 0
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReaderSize(stdout, 1<<20)
		for _, line := range lines {
			io.WriteString(stdin, line+"\n")
			if len(line) == 1 { // a command of s_client: K, k, R
				commands++
				for i := 0; i < 6000 && strings.Count(stderr.String(), "KEYUPDATE")+strings.Count(stderr.String(), "RENEGOTIATING") < commands; i++ {
					time.Sleep(10 * time.Millisecond)
				}
				continue
			}
			got, err := out.ReadString('\n')
			want := reversed(line)
			if err != nil || got != want+"\n" {
				failure = fmt.Errorf("answer %.80q (%v): %s", got, err, stderr.String())
				break
			}
			r.trace.sent[0] = append(r.trace.sent[0], line+"\n"...)
			r.trace.sent[1] = append(r.trace.sent[1], want+"\n"...)
		}
		stdin.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	keys, _ := os.ReadFile(log)
	r.trace.secrets = parseKeyLog(t, string(keys))
	return r.end(), failure
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// TestOpenSSLSuites talks with every suite that the installed OpenSSL can be made to speak, in every version.
func TestOpenSSLSuites(t *testing.T) {
	s := startOpenSSL(t, "-psk", "1234", "-comp", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256")
	dss := startOpenSSL(t, "-cert", dsaFile(t))
	out, err := exec.Command("openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").Output()
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string][]string{"TLSv1.3": {"-tls1_3"}, "TLSv1.2": {"-tls1_2"}, "TLSv1": {"-tls1", "-tls1_2"}, "SSLv3": {"-tls1", "-tls1_1", "-tls1_2"}}
	extra := "TLS_AES_128_CCM_SHA256 - x TLSv1.3\nTLS_AES_128_CCM_8_SHA256 - x TLSv1.3\n"
	n := 0
	for line := range strings.Lines(string(out) + extra) {
		f := strings.Fields(line)
		stdname, name, version := f[0], f[2], f[3]
		if strings.Contains(stdname, "SRP") {
			continue // s_server's SRP finds no user; its ciphers and MACs are those of other suites
		}
		s := s
		if strings.Contains(stdname, "DSS") {
			s = dss
		}
		for _, v := range versions[version] {
			for _, etm := range []bool{true, false} {
				if !etm && (v != "-tls1_2" || !strings.Contains(stdname, "CBC") || !strings.Contains(stdname, "ECDHE_RSA")) {
					continue
				}
				n++
				args := []string{v, "-cipher", name + ":@SECLEVEL=0", "-psk", "1234"}
				if version == "TLSv1.3" {
					args = []string{v, "-ciphersuites", stdname}
				} else if !strings.Contains(stdname, "PSK") {
					args = args[:3]
				}
				if !etm {
					args = append(args, "-no_etm")
				}
				t.Run(fmt.Sprintf("%s%s etm=%v", stdname, v, etm), func(t *testing.T) {
					tr, err := s.ask(t, []string{"hello", strings.Repeat("long line ", 800), strings.Repeat("x", 15)}, args...)
					if err != nil {
						t.Fatal(err)
					}
					o := decode(t, tr)
					o.wantPlain(t, tr)
					if o.info.Cipher != stdname || len(o.verdicts) != 0 || o.info.Finished == 0 {
						t.Errorf("%+v %+v", o.info, o.verdicts)
					}
				})
			}
		}
	}
	t.Logf("%d connections", n)
}

// TestOpenSSLOptions: what else OpenSSL can be asked for.
func TestOpenSSLOptions(t *testing.T) {
	rsa, _ := pemFiles(t)
	long := []string{"one", strings.Repeat("long line ", 1500)}
	for name, k := range map[string]struct{ server, client []string }{
		"padding":            {[]string{"-record_padding", "1000"}, []string{"-tls1_3", "-record_padding", "512"}},
		"maximum fragment":   {nil, []string{"-maxfraglen", "512"}},
		"small records":      {[]string{"-max_send_frag", "600"}, []string{"-max_send_frag", "700"}},
		"pipelines":          {[]string{"-split_send_frag", "512", "-max_pipelines", "4"}, []string{"-tls1_2"}},
		"no tickets":         {[]string{"-num_tickets", "0"}, []string{"-tls1_3"}},
		"many tickets":       {[]string{"-num_tickets", "9"}, []string{"-tls1_3"}},
		"no middlebox":       {[]string{"-no_middlebox"}, []string{"-tls1_3", "-no_middlebox"}},
		"hello retry":        {[]string{"-groups", "P-384"}, []string{"-tls1_3", "-groups", "X25519:P-384"}},
		"client certificate": {[]string{"-Verify", "1"}, []string{"-cert", rsa}},
		"client without one": {[]string{"-verify", "1"}, nil},
		"1/n-1 splitting":    {nil, []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}},
		"status":             {nil, []string{"-status"}},
		"PSK of TLS 1.3":     {[]string{"-psk", "1234"}, []string{"-tls1_3", "-psk", "1234", "-allow_no_dhe_kex"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := startOpenSSL(t, k.server...).ask(t, long, k.client...)
			if err != nil {
				t.Fatal(err)
			}
			o := decode(t, tr)
			o.wantPlain(t, tr)
			if len(o.verdicts) > 0 || o.info.Finished == 0 || (len(o.info.ClientCertificates) == 1) != (name == "client certificate") {
				t.Errorf("%+v %+v", o.info, o.verdicts)
			}
		})
	}
}

// TestOpenSSLRefuses: a client that refuses the certificate gets the server's
// tickets without their secret. Why it failed is known before the secrets end.
func TestOpenSSLRefuses(t *testing.T) {
	needOpenSSL(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{testKeys().ecdsa}})
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
			_ = c.(*tls.Conn).Handshake() // fails: that is what the test is about
			c.Close()
		}
	}()
	r := newRecorder()
	log := filepath.Join(t.TempDir(), "keys")
	through(t, r, l.Addr().String(), func(addr string) {
		exec.Command("openssl", "s_client", "-connect", addr, "-servername", "example.test", "-keylogfile", log, "-tls1_3", "-verify_return_error").Run()
	})
	keys, _ := os.ReadFile(log)
	r.trace.secrets = parseKeyLog(t, string(keys))
	tr := r.end()
	want := bus.Verdict{Code: bus.VerdictHandshake, Reason: "The TLS handshake with example.test failed: the client sent the alert unknown_ca."}
	f := newFeeder()
	f.keys(tr.secrets...)
	f.tcp(tr.records...)
	preliminary := want
	preliminary.Preliminary = true
	if !slices.Equal(f.out.doubts, []bus.Verdict{preliminary}) {
		t.Errorf("before the secrets end: %+v", f.out.doubts)
	}
	f.eos(bus.TCP, bus.UDP, bus.Keys)
	f.check(t)
	if !slices.Equal(f.out.verdicts, []bus.Verdict{want}) {
		t.Errorf("in the end: %+v", f.out.verdicts)
	}
}
