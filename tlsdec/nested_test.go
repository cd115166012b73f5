package tlsdec

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clipper/bus"
)

// nestedTrace is a connection to a proxy that speaks TLS, and inside it a TLS connection
// to a server, of the versions given.
func nestedTrace(t testing.TB, outer, inner uint16) *trace {
	t.Helper()
	r := newRecorder()
	const ask, answer = "CONNECT example.test:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	log := new(keyLog)
	ca, cb := pair(t)
	sa, sb := pair(t)
	done := make(chan struct{})
	go func() { defer close(done); r.relay(cb, sa) }()
	// The two ends of the tunnel, for goTalk's peers to meet in.
	ready := make(chan net.Conn)
	go func() {
		s := tls.Server(sb, &tls.Config{Certificates: []tls.Certificate{testKeys().rsa}, MaxVersion: outer})
		b := make([]byte, len(ask))
		io.ReadFull(s, b)
		io.WriteString(s, answer)
		ready <- s
	}()
	c := tls.Client(ca, &tls.Config{InsecureSkipVerify: true, ServerName: "proxy.test", MaxVersion: outer, KeyLogWriter: log})
	io.WriteString(c, ask)
	io.ReadFull(c, make([]byte, len(answer)))
	server := <-ready
	in := newRecorder()
	clientEnd, proxyClient := pair(t)
	proxyServer, serverEnd := pair(t)
	go in.relay(proxyClient, c)
	go in.relay(server, proxyServer)
	up, down := text(3000, 1), text(40000, 2)
	go func() {
		s := tls.Server(serverEnd, &tls.Config{Certificates: []tls.Certificate{testKeys().ecdsa}, MaxVersion: inner, NextProtos: []string{"h2"}})
		io.ReadFull(s, make([]byte, len(up)))
		s.Write(down)
		s.Close()
		serverEnd.Close()
	}()
	x := tls.Client(clientEnd, &tls.Config{InsecureSkipVerify: true, ServerName: "example.test", MaxVersion: inner, KeyLogWriter: log, NextProtos: []string{"h2"}})
	x.Write(up)
	io.Copy(io.Discard, x)
	x.Close()
	clientEnd.Close()
	<-done
	tr := r.end()
	tr.secrets = log.secrets(t)
	tr.sent = [2][]byte{append([]byte(ask), up...), append([]byte(answer), down...)}
	return tr
}

// TestNested: TLS in TLS, with the secrets of both in any order.
func TestNested(t *testing.T) {
	for _, v := range [][2]uint16{{tls.VersionTLS13, tls.VersionTLS13}, {tls.VersionTLS12, tls.VersionTLS13}, {tls.VersionTLS13, tls.VersionTLS12}} {
		t.Run(versionName(v[0])+" "+versionName(v[1]), func(t *testing.T) {
			tr := nestedTrace(t, v[0], v[1])
			o := decode(t, tr)
			o.wantPlain(t, tr)
			i := o.info
			if i.SNI != "example.test" || i.ALPN != "h2" || i.Version != versionName(v[1]) || len(o.verdicts) > 0 || i.Finished == 0 {
				t.Errorf("%+v %+v", i, o.verdicts)
			}
			decode(t, &trace{records: rechunk(tr.records, func() int { return 3 }), secrets: tr.secrets}).wantPlain(t, tr)
			want := dropVerdicts(o)
			ofInner := func(k bus.TLSSecret) bool { return bytes.Equal(k.ClientRandom, i.ClientRandom) }
			isOuter := func(k bus.TLSSecret) bool { return !ofInner(k) }
			innerFirst := append(slices.DeleteFunc(slices.Clone(tr.secrets), isOuter), slices.DeleteFunc(slices.Clone(tr.secrets), ofInner)...)
			for at := 0; at <= len(tr.records); at++ {
				for _, ks := range [][]bus.TLSSecret{tr.secrets, innerFirst} {
					f := newFeeder()
					f.tcp(tr.records[:at]...)
					for _, k := range ks {
						f.keys(k)
					}
					f.tcp(tr.records[at:]...)
					f.eos(bus.TCP, bus.UDP, bus.Keys)
					f.check(t)
					if got := dropVerdicts(&f.out); !slices.Equal(got, want) {
						t.Fatalf("secrets after record %d: output differs\n%s", at, firstDifference(got, want))
					}
				}
			}
			outer := decode(t, &trace{records: tr.records, secrets: slices.DeleteFunc(slices.Clone(tr.secrets), ofInner)})
			if len(outer.plain[0]) >= len(tr.sent[0]) || len(outer.verdicts) != 1 || outer.verdicts[0].Code != bus.VerdictNoSecret || !outer.fin[0] || !outer.ended {
				t.Errorf("without the inner secrets: %d bytes, %+v", len(outer.plain[0]), outer.verdicts)
			}
			for when, s := range scripts(tr) {
				t.Run(when, func(t *testing.T) { s.check(t) })
			}
		})
	}
}

// TestCurlThroughHTTPSProxy: the same with a real client.
func TestCurlThroughHTTPSProxy(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(text(50000, 7)) }))
	defer target.Close()
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		go func() { io.Copy(up, buffered); up.Close() }()
		io.Copy(down, up)
		down.Close()
	}))
	defer proxy.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	var pems []byte
	for _, c := range []*x509.Certificate{target.Certificate(), proxy.Certificate()} {
		pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	if err := os.WriteFile(ca, pems, 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "keys")
	r := newRecorder()
	through(t, r, proxy.Listener.Addr().String(), func(addr string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "curl", "-sS", "--http1.1", "--proxy-insecure", "--cacert", ca, "--proxy", "https://"+addr, "-o", os.DevNull, target.URL)
		cmd.Env = append(os.Environ(), "SSLKEYLOGFILE="+log, "no_proxy=")
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
	o := decode(t, tr)
	plain := bufio.NewReader(bytes.NewReader(o.plain[1]))
	for _, want := range []int{0, 50000} {
		resp, err := http.ReadResponse(plain, &http.Request{Method: map[bool]string{true: "CONNECT", false: "GET"}[want == 0]})
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			continue // what follows is the tunnel
		}
		b, _ := io.ReadAll(resp.Body)
		if len(b) != want || string(b) != string(text(50000, 7)) {
			t.Errorf("a body of %d bytes", len(b))
		}
	}
	if len(o.verdicts) > 0 || o.info.ALPN != "http/1.1" {
		t.Errorf("%+v %+v", o.info, o.verdicts)
	}
}
