package tlsdec

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC8448 decodes the traces of RFC 8448.
func TestRFC8448(t *testing.T) {
	files, _ := filepath.Glob("testdata/rfc8448/*.txt")
	if len(files) == 0 {
		t.Fatal("no traces")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r := newRecorder()
			var secrets []bus.TLSSecret
			var random []byte
			for line := range strings.Lines(string(b)) {
				f := strings.Fields(line)
				switch f[0] {
				case "secret":
					secrets = append(secrets, bus.TLSSecret{Label: f[1], Secret: unhex(t, f[2])})
				case "client", "server":
					x := unhex(t, f[1])
					if random == nil {
						random = x[11:43]
					}
					d := bus.ClientToServer
					if f[0] == "server" {
						d = bus.ServerToClient
					}
					r.data(d, x)
				case "plain":
					d := 0
					if f[1] == "server" {
						d = 1
					}
					r.trace.sent[d] = unhex(t, f[2])
				}
			}
			for i := range secrets {
				secrets[i].ClientRandom = random
			}
			tr := r.end()
			tr.secrets = secrets
			o := decode(t, tr)
			o.wantPlain(t, tr)
			if len(o.verdicts) > 0 || o.info.Cipher != "TLS_AES_128_GCM_SHA256" || o.info.SNI != "server" || o.info.Finished == 0 {
				t.Errorf("%+v %+v", o.info, o.verdicts)
			}
		})
	}
}

// TestCCM: the vectors of RFC 3610 have 13-byte nonces, which TLS never uses; these
// were made with another implementation (Python's cryptography 48).
func TestCCM(t *testing.T) {
	key := unhex(t, "000102030405060708090a0b0c0d0e0f")
	nonce := unhex(t, "101112131415161718191a1b")
	for _, v := range []struct {
		tagLen             int
		aad, plain, sealed string
	}{
		{16, "0104070a0d101316191c1f2225", "", "7191cc3385afe51ef09d4ff0e2baa980"},
		{16, "0104070a0d101316191c1f2225", "02", "21985bee1e96f204400b24eb0701c31fe1"},
		{16, "0104070a0d101316191c1f2225", "02070c11161b20252a2f34393e43484d", "21b2b5b154ef0d9720834bf94a2793cbf3d3aa0ccb7a90a128ad4ac8a532b6eb"},
		{16, "0104070a0d", "02070c11161b20252a2f34393e43484d52575c61666b70757a7f84898e93989da2a7acb1b6bbc0c5cacfd4d9dee3e8", "21b2b5b154ef0d9720834bf94a2793cb29e08ed6532c7a5e8c9723d95db6f519ffb400db5527ff76d02b962721dd50e242d83e321c8eb73121b0d26634173f"},
		{16, "0104070a0d101316191c1f2225282b2e3134373a3d404346494c4f5255585b5e6164676a6d707376", "02070c11161b20252a2f34393e43484d52575c61666b70757a7f84898e93989da2a7acb1b6bbc0c5cacfd4d9dee3e8edf2f7fc01060b10151a1f24292e33383d", "21b2b5b154ef0d9720834bf94a2793cb29e08ed6532c7a5e8c9723d95db6f519ffb400db5527ff76d02b962721dd502d6f38af312ed3111687da778ac4dc340dd7e9e64e9282b83f03239908ebdbda47"},
		{8, "0104070a0d101316191c1f2225", "", "abdb15008548d529"},
		{8, "0104070a0d101316191c1f2225", "02", "211de51006dd939591"},
		{8, "0104070a0d101316191c1f2225", "02070c11161b20252a2f34393e43484d", "21b2b5b154ef0d9720834bf94a2793cb5b5f0da70e0c71b8"},
		{8, "0104070a0d", "02070c11161b20252a2f34393e43484d52575c61666b70757a7f84898e93989da2a7acb1b6bbc0c5cacfd4d9dee3e8", "21b2b5b154ef0d9720834bf94a2793cb29e08ed6532c7a5e8c9723d95db6f519ffb400db5527ff76d02b962721dd506d86b5f0459469b6"},
		{8, "0104070a0d101316191c1f2225282b2e3134373a3d404346494c4f5255585b5e6164676a6d707376", "02070c11161b20252a2f34393e43484d52575c61666b70757a7f84898e93989da2a7acb1b6bbc0c5cacfd4d9dee3e8edf2f7fc01060b10151a1f24292e33383d", "21b2b5b154ef0d9720834bf94a2793cb29e08ed6532c7a5e8c9723d95db6f519ffb400db5527ff76d02b962721dd502d6f38af312ed3111687da778ac4dc340d82b1463e92a2dae8"},
	} {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		c := newCCM(block, v.tagLen)
		sealed := unhex(t, v.sealed)
		got, err := c.Open(nil, nonce, sealed, unhex(t, v.aad))
		if err != nil || !bytes.Equal(got, unhex(t, v.plain)) {
			t.Errorf("%x, %v, want %s", got, err, v.plain)
		}
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 0x10
			if _, err := c.Open(nil, nonce, bad, unhex(t, v.aad)); err == nil {
				t.Errorf("byte %d may be changed", i)
			}
			if _, err := c.Open(nil, nonce, sealed[:i], unhex(t, v.aad)); err == nil {
				t.Errorf("%d bytes are enough", i)
			}
		}
	}
}

// TestPRF: the known answer for P_SHA256 from the TLS working group's list. The
// older functions are shown right by real peers.
func TestPRF(t *testing.T) {
	got := prf(versionTLS12, newSHA256, unhex(t, "9bbe436ba940f017b17652849a71db35"), "test label", unhex(t, "a0ba9f936cda311827a6f796ffd5198c"), 100)
	want := "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
	if hex.EncodeToString(got) != want {
		t.Errorf("%x", got)
	}
}

// TestQUICInitialKeys: RFC 9001, appendix A.1.
func TestQUICInitialKeys(t *testing.T) {
	k := newQUICInitialKeys(quicVersion1, unhex(t, "8394c8f03e515708"), bus.ClientToServer)
	if hex.EncodeToString(k.iv[:]) != "fa044b2f42a3fd3b46fb255c" {
		t.Errorf("client iv %x", k.iv)
	}
	k = newQUICInitialKeys(quicVersion1, unhex(t, "8394c8f03e515708"), bus.ServerToClient)
	if hex.EncodeToString(k.iv[:]) != "0ac1493ca1905853b0bba03e" {
		t.Errorf("server iv %x", k.iv)
	}
}

// TestJA4ALPN: the cases of FoxIO's technical details. Whole fingerprints are in
// testdata/corpus.golden: Chrome's is its example t13d1516h2_8daaf6152771_….
func TestJA4ALPN(t *testing.T) {
	for in, want := range map[string]string{"": "00", "h2": "h2", "http/1.1": "h1", "\xab": "ab", "a": "aa", "h3\xff": "6f"} {
		var list []string
		if in != "" {
			list = []string{in}
		}
		if got := ja4ALPN(list); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
