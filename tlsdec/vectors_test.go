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

// TestQUICServerInitial: RFC 9001, appendix A.3, and RFC 9369, appendix A.3.
func TestQUICServerInitial(t *testing.T) {
	for version, packet := range map[uint32]string{
		quicVersion1: "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee",
		quicVersion2: "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140",
	} {
		b := unhex(t, packet)
		h, err := parseQUICLongHeader(b)
		if err != nil || h.typ != quicInitial || h.end != len(b) || hex.EncodeToString(h.source) != "f067a5502a4262b5" {
			t.Fatalf("%+v, %v", h, err)
		}
		k := newQUICInitialKeys(version, unhex(t, "8394c8f03e515708"), bus.ServerToClient)
		var buf, out []byte
		u, err := k.unmask(&buf, b, h, 0)
		if err != nil || u.number != 1 {
			t.Fatalf("packet %d, %v", u.number, err)
		}
		frames, err := k.open(&out, u)
		if want := "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304"; err != nil || hex.EncodeToString(frames) != want {
			t.Errorf("%x, %v", frames, err)
		}
	}
}

// TestQUICChaCha20: RFC 9001, appendix A.5, and its key update.
func TestQUICChaCha20(t *testing.T) {
	secret := unhex(t, "9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
	k := newQUICKeys(quicVersion1, newSuite(0x1303), secret, secret)
	b := unhex(t, "4cfe4189655e5cd55c41f69080575d7999c25a5bfb")
	var buf, out []byte
	u, err := k.unmask(&buf, b, quicHeader{typ: quicShort, number: 1, end: len(b)}, 654360563)
	if err != nil || u.number != 654360564 || u.phase {
		t.Fatalf("packet %d, phase %v, %v", u.number, u.phase, err)
	}
	if frames, err := k.open(&out, u); err != nil || hex.EncodeToString(frames) != "01" {
		t.Errorf("%x, %v", frames, err)
	}
	if got := hex.EncodeToString(k.next(quicVersion1).secret); got != "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9" {
		t.Errorf("next secret %s", got)
	}
}

// TestQUICNumber: RFC 9000, appendix A.3, and its edges.
func TestQUICNumber(t *testing.T) {
	for _, c := range []struct {
		largest, truncated uint64
		bytes              int
		want               uint64
	}{
		{0xa82f30ea, 0x9b32, 2, 0xa82f9b32},
		{0, 0, 1, 0},
		{255, 0, 1, 256},
		{256, 0xff, 1, 255},
		{1<<62 - 2, 0xff, 1, 1<<62 - 1},
	} {
		if got := quicNumber(c.largest, c.truncated, c.bytes); got != c.want {
			t.Errorf("%x in %d bytes after %x: %x, want %x", c.truncated, c.bytes, c.largest, got, c.want)
		}
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
