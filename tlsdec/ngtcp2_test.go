package tlsdec

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"clipper/bus"
)

// startNgtcp2 runs ngtcp2's server, which gives a file over HTTP/3.
func startNgtcp2(t *testing.T, file []byte) *net.UDPAddr {
	t.Helper()
	for _, p := range []string{"gtlsclient", "gtlsserver"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	rsa, _ := pemFiles(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	// The server makes its socket itself. Until it has, its answer is a refusal, and the
	// client sends again.
	free := udpSocket(t)
	free.Close()
	addr := free.LocalAddr().(*net.UDPAddr)
	server := exec.Command("gtlsserver", "-q", "-d", dir, "127.0.0.1", strconv.Itoa(addr.Port), rsa, rsa)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	return addr
}

// askNgtcp2 lets ngtcp2's client fetch the file.
func askNgtcp2(t *testing.T, server *net.UDPAddr, args ...string) *trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	relay := udpSocket(t)
	r := newUDPRecorder()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		r.relayUDP(relay, server, nil)
	}()
	port := strconv.Itoa(relay.LocalAddr().(*net.UDPAddr).Port)
	log := filepath.Join(t.TempDir(), "keys")
	client := exec.CommandContext(ctx, "gtlsclient", append(append([]string{"-q", "--exit-on-all-streams-close"}, args...),
		"127.0.0.1", port, "https://example.test:"+port+"/file")...)
	client.Env = append(os.Environ(), "SSLKEYLOGFILE="+log)
	if out, err := client.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	relay.Close()
	<-relayed
	keys, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	tr := r.endUDP()
	tr.secrets = parseKeyLog(t, string(keys))
	return tr
}

// dataFrames is the content of the DATA frames of an HTTP/3 stream (RFC 9114, section 7.2.1).
func dataFrames(b []byte) (content []byte) {
	for len(b) > 0 {
		typ, n := quicVarint(b)
		size, m := quicVarint(b[n:])
		b = b[n+m:]
		if n == 0 || m == 0 || size > uint64(len(b)) {
			return nil
		}
		if typ == 0 {
			content = append(content, b[:size]...)
		}
		b = b[size:]
	}
	return content
}

// TestNgtcp2: every cipher, a key update and 0-RTT of another implementation, with GnuTLS.
func TestNgtcp2(t *testing.T) {
	file := text(300_000, 3)
	server := startNgtcp2(t, file)
	check := func(t *testing.T, tr *trace) *bus.TLSInfo {
		t.Helper()
		o := decode(t, tr)
		_, conns := o.quic(t)
		c := conns[traceConn]
		if got := dataFrames(c.data[0][1]); !bytes.Equal(got, file) || !c.ended[0][1] || c.gaps > 0 || len(o.verdicts) > 0 {
			t.Errorf("%d bytes, ended %v, %d gaps, verdicts %v", len(got), c.ended[0][1], c.gaps, o.verdicts)
		}
		if c.info == nil || c.info.ALPN != "h3" {
			t.Fatalf("facts %+v", c.info)
		}
		return c.info
	}
	for _, cipher := range []string{"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-CCM"} {
		t.Run(cipher, func(t *testing.T) {
			tr := askNgtcp2(t, server, "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+"+cipher)
			if got, want := check(t, tr).Cipher, map[string]string{"AES-128-GCM": "TLS_AES_128_GCM_SHA256", "AES-256-GCM": "TLS_AES_256_GCM_SHA384",
				"CHACHA20-POLY1305": "TLS_CHACHA20_POLY1305_SHA256", "AES-128-CCM": "TLS_AES_128_CCM_SHA256"}[cipher]; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
	t.Run("key update", func(t *testing.T) {
		tr := askNgtcp2(t, server, "--key-update=1ms", "--delay-stream=20ms")
		check(t, tr)
		f := newFeeder()
		f.keys(tr.secrets...)
		f.tcp(tr.records[:len(tr.records)-1]...)
		if q := f.d.(*decoder).conns[traceConn].quic; q.sides[0].before == nil || q.sides[1].before == nil {
			t.Error("the peers did not update their keys")
		}
	})
	t.Run("0-RTT", func(t *testing.T) {
		dir := t.TempDir()
		args := []string{"--session-file=" + filepath.Join(dir, "session"), "--tp-file=" + filepath.Join(dir, "tp")}
		check(t, askNgtcp2(t, server, args...))
		tr := askNgtcp2(t, server, args...)
		if i := check(t, tr); !i.Resumed || !i.EarlyData {
			t.Errorf("resumed %v, early data %v", i.Resumed, i.EarlyData)
		}
		(&script{tr.records, map[int][]bus.TLSSecret{0: tr.secrets}}).check(t)
	})
}
