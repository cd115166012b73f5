package tlsdec

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"sync"
	"testing"
	"time"

	"clipper/bus"
)

var testKeys = sync.OnceValue(func() (k struct{ ecdsa, rsa tls.Certificate }) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), DNSNames: []string{"example.test"}}
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ek.Public(), ek)
	if err != nil {
		panic(err)
	}
	k.ecdsa = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ek}
	rk, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, rk.Public(), rk); err != nil {
		panic(err)
	}
	k.rsa = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: rk}
	return k
})

// talk is what the peers of goTrace say after the handshake.
type talk struct {
	client, server *tls.Config
	up, down       []byte
}

// goTrace lets a Go client and a Go server talk: the client sends up, then the server
// down.
func goTrace(t testing.TB, k talk) *trace {
	t.Helper()
	r := newRecorder()
	goTalk(t, r, k)
	return r.end()
}

func goTalk(t testing.TB, r *recorder, k talk) {
	t.Helper()
	log := new(keyLog)
	k.client.KeyLogWriter = log
	k.client.InsecureSkipVerify = true
	if k.client.ServerName == "" {
		k.client.ServerName = "example.test"
	}
	if len(k.server.Certificates) == 0 {
		k.server.Certificates = []tls.Certificate{testKeys().ecdsa, testKeys().rsa}
	}
	ca, cb := pair(t)
	sa, sb := pair(t)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() { defer wg.Done(); r.relay(cb, sa) }()
	go func() {
		defer wg.Done()
		s := tls.Server(sb, k.server)
		defer s.Close()
		got := make([]byte, len(k.up))
		if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, k.up) {
			t.Errorf("server read: %v", err)
			return
		}
		if _, err := s.Write(k.down); err != nil {
			t.Error(err)
		}
		s.CloseWrite()
		io.Copy(io.Discard, s)
	}()
	c := tls.Client(ca, k.client)
	if _, err := c.Write(k.up); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(k.down))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, k.down) {
		t.Errorf("client read: %v", err)
	}
	io.Copy(io.Discard, c)
	c.Close()
	wg.Wait()
	r.trace.secrets = append(r.trace.secrets, log.secrets(t)...)
	r.trace.sent[0] = append(r.trace.sent[0], k.up...)
	r.trace.sent[1] = append(r.trace.sent[1], k.down...)
}

// text is n bytes that no record boundary lines up with.
func text(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8) + seed
	}
	return b
}

type goCase struct {
	name string
	talk talk
	want bus.TLSInfo
}

func goCases() (cases []goCase) {
	add := func(name string, client, server *tls.Config, want bus.TLSInfo) {
		if want.ALPN != "" {
			client.NextProtos, server.NextProtos = []string{"h2", "http/1.1"}, []string{want.ALPN}
		}
		cases = append(cases, goCase{name, talk{client: client, server: server, up: text(3000, 1), down: text(70000, 2)}, want})
	}
	add("1.3", &tls.Config{}, &tls.Config{}, bus.TLSInfo{Version: "TLS 1.3", Group: "X25519MLKEM768", ALPN: "h2"})
	add("1.3 P-256", &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, &tls.Config{}, bus.TLSInfo{Version: "TLS 1.3", Group: "secp256r1"})
	add("1.3 hello retry", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}}, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}},
		bus.TLSInfo{Version: "TLS 1.3", Group: "secp384r1", ALPN: "http/1.1"})
	for _, list := range [][]*tls.CipherSuite{tls.CipherSuites(), tls.InsecureCipherSuites()} {
		for _, s := range list {
			for _, v := range s.SupportedVersions {
				if v == tls.VersionTLS13 {
					continue
				}
				c := &tls.Config{MinVersion: v, MaxVersion: v, CipherSuites: []uint16{s.ID}}
				add(fmt.Sprintf("%s %s", versionName(v), s.Name), c, c.Clone(), bus.TLSInfo{Version: versionName(v), Cipher: s.Name, ALPN: "h2"})
			}
		}
	}
	return cases
}

func TestGoPeers(t *testing.T) {
	for _, k := range goCases() {
		t.Run(k.name, func(t *testing.T) {
			tr := goTrace(t, k.talk)
			if t.Failed() {
				return
			}
			o := decode(t, tr)
			o.wantPlain(t, tr)
			if len(o.verdicts) > 0 {
				t.Errorf("verdicts: %+v", o.verdicts)
			}
			i := o.info
			if i == nil {
				t.Fatal("no Info")
			}
			if i.Version != k.want.Version || k.want.Cipher != "" && i.Cipher != k.want.Cipher || k.want.Group != "" && i.Group != k.want.Group || i.ALPN != k.want.ALPN {
				t.Errorf("info %+v, want %+v", i, k.want)
			}
			if i.SNI != "example.test" || len(i.Certificates) != 1 || i.PID != 4711 || i.Started == 0 || i.Finished <= i.Started || i.Resumed || i.JA3 == "" || i.JA4 == "" {
				t.Errorf("info %+v", i)
			}
			if !o.fin[0] || !o.fin[1] || !o.ended {
				t.Error("Fin or End missing")
			}
		})
	}
}
