package tlsdec

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"clipper/bus"
	"clipper/bus/porttest"
)

// renamed gives the records of a trace another connection.
func renamed(rs []bus.Record, id bus.ConnID) []bus.Record {
	rs = slices.Clone(rs)
	for i := range rs {
		rs[i].Conn = id
	}
	return rs
}

// only keeps the output of one connection.
func (o *output) only(id bus.ConnID) *output {
	var p output
	for i := range o.records {
		if o.records[i].Conn == id {
			p.take(&o.records[i])
		}
	}
	return &p
}

// TestGoResumption: a Go program logs nothing when it resumes before TLS 1.3.
func TestGoResumption(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(versionName(version), func(t *testing.T) {
			client := &tls.Config{MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
			server := &tls.Config{MinVersion: version, MaxVersion: version}
			k := talk{client: client, server: server, up: text(10, 1), down: text(3000, 2)}
			first, second := goTrace(t, k), goTrace(t, k)
			if version == tls.VersionTLS12 && len(second.secrets) != 0 {
				t.Fatalf("logged %d secrets", len(second.secrets))
			}
			for _, late := range []bool{false, true} {
				f := newFeeder()
				if !late {
					f.keys(first.secrets...)
					f.keys(second.secrets...)
				}
				f.tcp(renamed(second.records, 2)...)
				f.tcp(renamed(first.records, 1)...)
				if late {
					f.keys(second.secrets...)
					f.keys(first.secrets...)
				}
				f.out.problem = "" // offsets of two connections
				f.eos(bus.TCP, bus.UDP, bus.Keys)
				f.out.problem = ""
				f.check(t)
				for id, tr := range map[bus.ConnID]*trace{1: first, 2: second} {
					o := f.out.only(id)
					o.wantPlain(t, tr)
					if o.info.Resumed != (id == 2) || o.info.Finished == 0 {
						t.Errorf("connection %d: %+v", id, o.info)
					}
				}
			}
		})
	}
}

func TestClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		tr := goTrace(t, talk{client: &tls.Config{MaxVersion: version, Certificates: []tls.Certificate{testKeys().rsa}},
			server: &tls.Config{ClientAuth: tls.RequireAnyClientCert}, up: text(10, 1), down: text(30, 2)})
		o := decode(t, tr)
		o.wantPlain(t, tr)
		if len(o.info.Certificates) != 1 || !bytes.Equal(o.info.Certificates[0], testKeys().ecdsa.Certificate[0]) {
			t.Error("not the server's certificate")
		}
		if len(o.info.ClientCertificates) != 1 || !bytes.Equal(o.info.ClientCertificates[0], testKeys().rsa.Certificate[0]) {
			t.Error("not the client's certificate")
		}
	}
}

// TestOpenSSLRekeying: KeyUpdate of both kinds and renegotiation.
func TestOpenSSLRekeying(t *testing.T) {
	s := startOpenSSL(t, "-client_renegotiation")
	lines := []string{"one", "K", "two", "k", "three", strings.Repeat("four ", 2000)}
	tr, err := s.ask(t, lines, "-tls1_3")
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, tr)
	o.wantPlain(t, tr)
	for _, cipher := range []string{"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-CHACHA20-POLY1305"} {
		tr, err = s.ask(t, []string{"one", "R", "two", "R", "three"}, "-tls1_2", "-cipher", cipher+":@SECLEVEL=0")
		if err != nil {
			t.Fatal(err)
		}
		if len(tr.secrets) < 3 {
			t.Fatal("no renegotiation")
		}
		o = decode(t, tr)
		o.wantPlain(t, tr)
		if len(o.verdicts) > 0 {
			t.Errorf("%+v", o.verdicts)
		}
		want := o.settled()
		f := newFeeder()
		f.tcp(tr.records...)
		for _, k := range tr.secrets {
			f.keys(k)
		}
		f.eos(bus.Keys, bus.TCP, bus.UDP)
		if got := f.out.settled(); len(got) < 3 || !slices.Equal(f.out.plain[1], o.plain[1]) || !slices.Equal(dropVerdicts(&f.out), dropVerdicts(o)) {
			t.Errorf("late secrets: %s", firstDifference(got, want))
		}
	}
}

func dropVerdicts(o *output) (out []string) {
	for i, l := range o.lines {
		if o.records[i].Type != bus.Opaque {
			out = append(out, l)
		}
	}
	return out
}

// TestOpenSSLResumption: by ticket and by session id, with the secrets that OpenSSL logs
// and with those of the first connection alone.
func TestOpenSSLResumption(t *testing.T) {
	s := startOpenSSL(t)
	for _, args := range [][]string{{"-tls1_3"}, {"-tls1_2"}, {"-tls1_2", "-no_ticket"}, {"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			session := filepath.Join(t.TempDir(), "session")
			first, err := s.ask(t, []string{"one", "two"}, append(args, "-sess_out", session)...)
			if err != nil {
				t.Fatal(err)
			}
			second, err := s.ask(t, []string{"three", "four"}, append(args, "-sess_in", session)...)
			if err != nil {
				t.Fatal(err)
			}
			o := decode(t, second)
			o.wantPlain(t, second)
			if !o.info.Resumed {
				t.Error("not resumed")
			}
			if args[0] == "-tls1_3" {
				return
			}
			second.secrets = first.secrets
			o = decode(t, second)
			o.wantPlain(t, second)
		})
	}
}

// TestOpenSSLEarlyData: 0-RTT, accepted and refused.
func TestOpenSSLEarlyData(t *testing.T) {
	needOpenSSL(t)
	rsa, _ := pemFiles(t)
	addr := porttest.TCP(t, "127.0.0.1").String()
	cmd := exec.Command("openssl", "s_server", "-accept", addr, "-quiet", "-cert", rsa, "-early_data", "-no_anti_replay", "-tls1_3")
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() }()
	porttest.Await(t, addr)
	received := bufio.NewReader(stdout)
	dir := t.TempDir()
	early := filepath.Join(dir, "early")
	os.WriteFile(early, []byte("early bird\n"), 0o600)
	run := func(args ...string) *trace {
		r := newRecorder()
		log := filepath.Join(t.TempDir(), "keys")
		through(t, r, addr, func(addr string) {
			c := exec.Command("openssl", append([]string{"s_client", "-connect", addr, "-quiet", "-no_ign_eof", "-keylogfile", log, "-tls1_3"}, args...)...)
			in, _ := c.StdinPipe()
			out, _ := c.StdoutPipe()
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			io.WriteString(in, "late worm\n")
			for { // or s_server mixes it up
				line, err := received.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasSuffix(line, "late worm\n") {
					break
				}
			}
			io.WriteString(stdin, "answer\n")
			b := make([]byte, 7)
			io.ReadFull(out, b)
			in.Close()
			io.Copy(io.Discard, out)
			c.Wait()
		})
		keys, _ := os.ReadFile(log)
		r.trace.secrets = parseKeyLog(t, string(keys))
		r.trace.sent[1] = []byte("answer\n")
		return r.end()
	}
	session := filepath.Join(dir, "session")
	first := run("-sess_out", session)
	first.sent[0] = []byte("late worm\n")
	decode(t, first).wantPlain(t, first)
	second := run("-sess_in", session, "-early_data", early)
	second.sent[0] = []byte("early bird\nlate worm\n")
	if !slices.ContainsFunc(second.secrets, func(s bus.TLSSecret) bool { return s.Label == "CLIENT_EARLY_TRAFFIC_SECRET" }) {
		t.Fatal("no early data was sent")
	}
	o := decode(t, second)
	o.wantPlain(t, second)
	if !o.info.EarlyData || !o.info.Resumed {
		t.Errorf("%+v", o.info)
	}
	i := slices.IndexFunc(o.records, func(r bus.Record) bool { return r.Type == bus.Data && r.Flags&bus.Early != 0 })
	if i < 0 || string(o.records[i].Payload) != "early bird\n" {
		t.Error("early data without its flag")
	}
	// Without the early secret, what followed is still read.
	second.secrets = slices.DeleteFunc(second.secrets, func(s bus.TLSSecret) bool { return s.Label == "CLIENT_EARLY_TRAFFIC_SECRET" })
	o = decode(t, second)
	if string(o.plain[1]) != "answer\n" || !bytes.HasSuffix(o.plain[0], []byte("late worm\n")) {
		t.Errorf("without the early secret: %q %q %+v", o.plain[0], o.plain[1], o.verdicts)
	}
}

// TestECH: the secrets are logged under the random of the inner ClientHello.
func TestECH(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// ECHConfig (draft-ietf-tls-esni-22, section 4).
	contents := []byte{1, 0, 0x20, 0, 32}
	contents = append(contents, key.PublicKey().Bytes()...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 0, byte(len("public.test")))
	contents = append(append(contents, "public.test"...), 0, 0)
	config := append([]byte{0xfe, 0x0d, 0, byte(len(contents))}, contents...)
	list := append([]byte{0, byte(len(config))}, config...)
	k := talk{up: text(10, 1), down: text(3000, 2),
		client: &tls.Config{EncryptedClientHelloConfigList: list, ServerName: "example.test", MinVersion: tls.VersionTLS13},
		server: &tls.Config{EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{{Config: config, PrivateKey: key.Bytes(), SendAsRetry: true}}}}
	tr := goTrace(t, k)
	o := decode(t, tr)
	o.wantPlain(t, tr)
	if o.info.SNI != "public.test" {
		t.Errorf("outer name %q", o.info.SNI)
	}
	f := newFeeder()
	f.tcp(tr.records...)
	f.keys(tr.secrets...)
	f.eos(bus.Keys, bus.TCP, bus.UDP)
	f.check(t)
	f.out.wantPlain(t, tr)
	tr.secrets = nil
	o = decode(t, tr)
	if len(o.verdicts) != 1 || o.verdicts[0].Code != bus.VerdictECH || !strings.Contains(o.verdicts[0].Reason, "public.test") {
		t.Errorf("%+v", o.verdicts)
	}
}

// failing lets a handshake fail.
func failing(t *testing.T, client, server *tls.Config) *trace {
	r := newRecorder()
	log := new(keyLog)
	client.KeyLogWriter = log
	ca, cb := pair(t)
	sa, sb := pair(t)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() { defer wg.Done(); r.relay(cb, sa) }()
	go func() {
		defer wg.Done()
		tls.Server(sb, server).Handshake()
		io.Copy(io.Discard, sb)
		sb.Close()
	}()
	if err := tls.Client(ca, client).Handshake(); err == nil {
		t.Error("no failure")
	}
	ca.Close()
	wg.Wait()
	r.trace.secrets = log.secrets(t)
	return r.end()
}

func TestFailedHandshakes(t *testing.T) {
	certs := []tls.Certificate{testKeys().ecdsa}
	cases := []struct {
		name           string
		client, server *tls.Config
		alert          string
		from           bus.Dir
	}{
		{"1.3 certificate", &tls.Config{ServerName: "example.test"}, &tls.Config{Certificates: certs}, "bad_certificate", bus.ClientToServer},
		{"1.2 certificate", &tls.Config{ServerName: "example.test", MaxVersion: tls.VersionTLS12}, &tls.Config{Certificates: certs}, "bad_certificate", bus.ClientToServer},
		{"version", &tls.Config{ServerName: "example.test", MaxVersion: tls.VersionTLS12}, &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS13}, "protocol_version", bus.ServerToClient},
		{"alpn", &tls.Config{ServerName: "example.test", InsecureSkipVerify: true, NextProtos: []string{"x"}}, &tls.Config{Certificates: certs, NextProtos: []string{"y"}}, "no_application_protocol", bus.ServerToClient},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			o := decode(t, failing(t, k.client, k.server))
			if len(o.verdicts) != 1 || o.verdicts[0].Code != bus.VerdictHandshake {
				t.Fatalf("%+v", o.verdicts)
			}
			a := o.info.Alert
			if a == nil || a.Description != k.alert || a.Dir != k.from || a.Level != "fatal" {
				t.Errorf("alert %+v", a)
			}
			if reason := o.verdicts[0].Reason; !strings.Contains(reason, k.alert) || !strings.Contains(reason, "example.test") || !strings.Contains(reason, sender(k.from)) {
				t.Errorf("reason %q", reason)
			}
		})
	}
}
