package tlsdec

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"testing"

	"clipper/bus"
)

// TestPremasterSecret: key logs of the forms "RSA" and "PMS_CLIENT_RANDOM", with and
// without extended master secret.
func TestPremasterSecret(t *testing.T) {
	s := startOpenSSL(t)
	for _, args := range [][]string{
		{"-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"},
		{"-tls1_2", "-cipher", "AES256-GCM-SHA384:@SECLEVEL=0"},
		{"-tls1_1", "-cipher", "AES128-SHA:@SECLEVEL=0"},
	} {
		tr, err := s.ask(t, []string{"one", "two"}, args...)
		if err != nil {
			t.Fatal(err)
		}
		random := tr.secrets[0].ClientRandom
		checkPremaster(t, tr, random)
	}
	c := &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}
	tr := goTrace(t, talk{client: c, server: c.Clone(), up: text(10, 1), down: text(10, 2)})
	checkPremaster(t, tr, tr.secrets[0].ClientRandom)
}

func checkPremaster(t *testing.T, tr *trace, random []byte) {
	t.Helper()
	var stream []byte
	for _, r := range tr.records {
		if r.Type == bus.Data && r.Dir == bus.ClientToServer {
			stream = append(stream, r.Payload...)
		}
	}
	var encrypted []byte
	for encrypted == nil {
		h, n, err := parseRecordHeader(stream)
		if err != nil {
			t.Fatal("no ClientKeyExchange")
		}
		if stream[n] == msgClientKeyExchange {
			encrypted = stream[n+handshakeHeaderLen+2 : n+h.length]
		}
		stream = stream[n+h.length:]
	}
	//lint:ignore SA1019 it is what RSA key exchange did
	premaster, err := rsa.DecryptPKCS1v15(nil, testKeys().rsa.PrivateKey.(*rsa.PrivateKey), encrypted)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []bus.TLSSecret{
		{Label: "RSA", ClientRandom: encrypted[:8], Secret: premaster},
		{Label: "PMS_CLIENT_RANDOM", ClientRandom: random, Secret: premaster},
	} {
		for _, late := range []bool{false, true} {
			f := newFeeder()
			if !late {
				f.keys(k)
			}
			f.tcp(tr.records...)
			f.keys(k)
			f.eos(bus.TCP, bus.UDP, bus.Keys)
			f.check(t)
			f.out.wantPlain(t, tr)
		}
		decode(t, &trace{records: answersFirst(tr.records), secrets: []bus.TLSSecret{k}}).wantPlain(t, tr)
	}
}

// answersFirst puts what the server said before what the client said just before that.
func answersFirst(rs []bus.Record) []bus.Record {
	rs = joined(rs)
	for i := 1; i < len(rs); i++ {
		if rs[i].Type == bus.Data && rs[i-1].Type == bus.Data && rs[i].Dir == bus.ServerToClient && rs[i-1].Dir == bus.ClientToServer {
			rs[i-1], rs[i] = rs[i], rs[i-1]
		}
	}
	return rs
}

// TestSessionID: key logs that know the master secret by the session id.
func TestSessionID(t *testing.T) {
	tr, err := startOpenSSL(t).ask(t, []string{"one", "two"}, "-tls1_2", "-no_ticket")
	if err != nil {
		t.Fatal(err)
	}
	f := newFeeder()
	f.tcp(tr.records...)
	var id []byte
	for _, c := range f.d.(*decoder).conns {
		id = bytes.Clone(c.tls.server.sessionID)
	}
	if len(id) != 32 {
		t.Fatalf("session id %x", id)
	}
	k := bus.TLSSecret{Label: bus.LabelSessionID, ClientRandom: id, Secret: tr.secrets[0].Secret}
	f.keys(k)
	f.eos(bus.TCP, bus.UDP, bus.Keys)
	f.check(t)
	f.out.wantPlain(t, tr)
	decode(t, &trace{records: tr.records, secrets: []bus.TLSSecret{k}}).wantPlain(t, tr)
}
