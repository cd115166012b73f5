package tlsdec

import (
	"bufio"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clipper/bus"
)

// TestJSSE talks SSL 3 and TLS 1.0 with the suites that only Java still has, with the
// premaster secret that the server's RSA key gives.
func TestJSSE(t *testing.T) {
	needOpenSSL(t)
	if _, err := exec.LookPath("java"); err != nil {
		t.Skip("java is not installed")
	}
	// A key of 512 bits may encrypt the premaster secret of an export suite (RFC 2246, appendix D.1).
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, args := range [][]string{
		{"req", "-x509", "-newkey", "rsa:512", "-nodes", "-keyout", in("key.pem"), "-out", in("cert.pem"), "-subj", "/CN=example.test", "-days", "9999", "-sha1"},
		{"pkcs8", "-topk8", "-nocrypt", "-in", in("key.pem"), "-outform", "DER", "-out", in("key.der")},
		{"x509", "-in", in("cert.pem"), "-outform", "DER", "-out", in("cert.der")},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v: %s", args[0], err, out)
		}
	}
	b, err := os.ReadFile(in("key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", filepath.Join("testdata", "jsse", "Peer.java"), in("key.der"), in("cert.der"))
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	var stderr keyLog
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	out := bufio.NewReader(stdout)
	port, err := out.ReadString('\n')
	if err != nil {
		t.Skipf("java without its compiler: %s", stderr.String())
	}
	server := net.JoinHostPort("127.0.0.1", strings.TrimSpace(port))
	for _, protocols := range []string{"SSLv3", "TLSv1", "SSLv2Hello,SSLv3", "SSLv2Hello,TLSv1", "TLSv1.1"} {
		for _, suite := range []string{"SSL_RSA_EXPORT_WITH_RC4_40_MD5", "SSL_RSA_EXPORT_WITH_DES40_CBC_SHA", "SSL_RSA_WITH_DES_CBC_SHA", "SSL_RSA_WITH_3DES_EDE_CBC_SHA",
			"SSL_RSA_WITH_RC4_128_MD5", "SSL_RSA_WITH_RC4_128_SHA", "SSL_RSA_WITH_NULL_MD5", "SSL_RSA_WITH_NULL_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"} {
			if protocols == "TLSv1.1" && strings.Contains(suite, "EXPORT") {
				continue // it may not be used there
			}
			t.Run(protocols+" "+suite, func(t *testing.T) {
				r := newRecorder()
				through(t, r, server, func(addr string) {
					_, port, _ := net.SplitHostPort(addr)
					fmt.Fprintf(stdin, "%s %s %s\n", port, protocols, suite)
					if answer, err := out.ReadString('\n'); err != nil || answer != "ok\n" {
						t.Errorf("%s (%v) %s", answer, err, stderr.String())
					}
				})
				for d := range r.trace.sent {
					r.trace.sent[d] = []byte(strings.Repeat("x", 3101))
				}
				tr := r.end()
				tr.secrets = []bus.TLSSecret{premasterOf(t, tr, key.(*rsa.PrivateKey))}
				o := decode(t, tr)
				o.wantPlain(t, tr)
				if want := "TLS" + strings.TrimLeft(suite, "SLT"); o.info == nil || o.info.Cipher != want || len(o.verdicts) > 0 || o.info.Finished == 0 {
					t.Errorf("%+v %+v", o.info, o.verdicts)
				}
			})
		}
	}
}

// premasterOf decrypts the premaster secret of a trace: the line "RSA" of a key log.
// crypto/rsa refuses a key as short as this one.
func premasterOf(t *testing.T, tr *trace, key *rsa.PrivateKey) bus.TLSSecret {
	t.Helper()
	n := key.Size()
	for _, r := range tr.records {
		if r.Type != bus.Data || r.Dir != bus.ClientToServer {
			continue
		}
		for b := r.Payload; len(b) > recordHeaderLen; {
			h, m, err := parseRecordHeader(b)
			if err != nil || len(b) < m+h.length {
				break
			}
			if message := b[m : m+h.length]; h.typ == typeHandshake && message[0] == msgClientKeyExchange && len(message) >= n {
				// The message ends with the encrypted secret, before which TLS has its length.
				encrypted := message[len(message)-n:]
				plain := new(big.Int).Exp(new(big.Int).SetBytes(encrypted), key.D, key.N).FillBytes(make([]byte, n))
				return bus.TLSSecret{Label: "RSA", ClientRandom: encrypted[:8], Secret: plain[n-48:]}
			}
			b = b[m+h.length:]
		}
	}
	t.Fatal("no ClientKeyExchange")
	panic("unreachable")
}
