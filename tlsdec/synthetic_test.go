package tlsdec

import (
	"bytes"
	"compress/zlib"
	"crypto/cipher"
	"crypto/rc4"
	"encoding/binary"
	"fmt"
	"testing"

	"clipper/bus"

	"golang.org/x/crypto/cryptobyte"
)

// A synthetic connection is what peers would say that no library here speaks
// any more. That it is what they said is for tshark to judge.

// sealer is the sending side of macProtection and of compressed.
type sealer struct {
	p        *parameters
	open     *macProtection // for its MAC
	cbc      cipher.BlockMode
	stream   *rc4.Cipher
	zipped   bytes.Buffer
	zip      *zlib.Writer
	explicit byte
}

func newSealer(p *parameters, master []byte, d bus.Dir) *sealer {
	s := &sealer{p: p, open: newProtection12(p, master, d).(*macProtection)}
	suite := p.suite
	// The key block once more, cut as RFC 5246, section 6.3 shows it.
	keyLen, ivLen := suite.keyLen, suite.ivLen
	if p.version >= versionTLS11 {
		ivLen = 0
	}
	if suite.export > 0 {
		keyLen, ivLen = suite.export, 0
	}
	block := keyBlock(p, master, 2*(suite.macLen+keyLen+ivLen))
	pair := func(at, n int) []byte { return block[at+int(d)*n : at+int(d)*n+n] }
	key, iv := pair(2*suite.macLen, keyLen), pair(2*(suite.macLen+keyLen), ivLen)
	if suite.export > 0 {
		key, iv = exportKeys(p, key, d)
	}
	switch suite.cipher {
	case cipherCBC:
		b, err := suite.block(key)
		if err != nil {
			panic(err)
		}
		if len(iv) == 0 {
			iv = make([]byte, b.BlockSize())
		}
		s.cbc = cipher.NewCBCEncrypter(b, iv)
	case cipherRC4:
		s.stream, _ = rc4.NewCipher(key)
	}
	s.zip = zlib.NewWriter(&s.zipped)
	return s
}

func (s *sealer) seal(typ contentType, content []byte) []byte {
	if s.p.compression == compressionDeflate {
		s.zip.Write(content)
		s.zip.Flush()
		content = bytes.Clone(s.zipped.Bytes())
		s.zipped.Reset()
	}
	record := []byte{byte(typ), byte(s.p.version >> 8), byte(s.p.version), 0, 0}
	mac := func(b []byte) []byte {
		header := binary.BigEndian.AppendUint64(nil, s.open.seq)
		header = append(header, record[:3]...)
		header = binary.BigEndian.AppendUint16(header, uint16(len(b)))
		s.open.seq++
		if s.open.ssl3 != nil {
			return s.open.ssl3.sum(nil, header, b)
		}
		m := s.open.mac
		m.Reset()
		m.Write(header)
		m.Write(b)
		return m.Sum(nil)
	}
	body := bytes.Clone(content)
	if !s.p.encryptThenMAC {
		body = append(body, mac(content)...)
	}
	switch {
	case s.cbc != nil:
		size := s.cbc.BlockSize()
		pad := size - len(body)%size
		for range pad {
			body = append(body, byte(pad-1))
		}
		if s.p.version >= versionTLS11 {
			s.explicit++
			body = append(bytes.Repeat([]byte{s.explicit}, size), body...)
		}
		s.cbc.CryptBlocks(body, body)
	case s.stream != nil:
		s.stream.XORKeyStream(body, body)
	}
	if s.p.encryptThenMAC {
		body = append(body, mac(body)...)
	}
	binary.BigEndian.PutUint16(record[3:], uint16(len(body)))
	return append(record, body...)
}

// syntheticTrace is a whole connection with the parameters p.
func syntheticTrace(t testing.TB, p parameters, v2 bool) *trace {
	t.Helper()
	for i := range p.clientRandom {
		p.clientRandom[i], p.serverRandom[i] = byte(3*i+int(p.suite.id)), byte(200-i)
	}
	master := text(48, 9)
	r := newRecorder()
	plainRecord := func(d bus.Dir, typ contentType, b []byte) {
		r.data(d, append([]byte{byte(typ), byte(p.version >> 8), byte(p.version), byte(len(b) >> 8), byte(len(b))}, b...))
	}
	message := func(typ uint8, build func(b *cryptobyte.Builder)) []byte {
		var b cryptobyte.Builder
		b.AddUint8(typ)
		b.AddUint24LengthPrefixed(build)
		return b.BytesOrPanic()
	}
	if v2 {
		b := []byte{0x80, 0, 1, byte(p.version >> 8), byte(p.version), 0, 6, 0, 0, 0, 32, 1, 0, 0x80, 0, byte(p.suite.id >> 8), byte(p.suite.id)}
		b = append(b, p.clientRandom[:]...)
		b[1] = byte(len(b) - 2)
		r.data(0, b)
	} else {
		plainRecord(0, typeHandshake, message(msgClientHello, func(b *cryptobyte.Builder) {
			b.AddUint16(p.version)
			b.AddBytes(p.clientRandom[:])
			b.AddUint8(0)
			b.AddUint16(2)
			b.AddUint16(p.suite.id)
			b.AddBytes([]byte{2, p.compression, 0})
			if p.encryptThenMAC {
				b.AddBytes([]byte{0, 4, 0, extEncryptThenMAC, 0, 0})
			}
		}))
	}
	server := message(msgServerHello, func(b *cryptobyte.Builder) {
		b.AddUint16(p.version)
		b.AddBytes(p.serverRandom[:])
		b.AddUint8(0)
		b.AddUint16(p.suite.id)
		b.AddUint8(p.compression)
		if p.encryptThenMAC {
			b.AddBytes([]byte{0, 4, 0, extEncryptThenMAC, 0, 0})
		}
	})
	plainRecord(1, typeHandshake, append(server, msgServerHelloDone, 0, 0, 0))
	plainRecord(0, typeHandshake, message(msgClientKeyExchange, func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, 130)) }))
	var seal [2]*sealer
	for d := range seal {
		seal[d] = newSealer(&p, master, bus.Dir(d))
		plainRecord(bus.Dir(d), typeChangeCipherSpec, []byte{1})
		n := 12
		if p.version == versionSSL3 {
			n = 36
		}
		r.data(bus.Dir(d), seal[d].seal(typeHandshake, append([]byte{msgFinished, 0, 0, byte(n)}, make([]byte, n)...)))
	}
	for i, n := range []int{1, 400, 7, 8, 9, 3000, 15, 16, 4000} {
		d := bus.Dir(i & 1)
		b := text(n, byte(i))
		r.data(d, seal[d].seal(typeApplicationData, b))
		r.trace.sent[d] = append(r.trace.sent[d], b...)
	}
	r.trace.secrets = []bus.TLSSecret{{Label: "CLIENT_RANDOM", ClientRandom: p.clientRandom[:], Secret: master}}
	return r.end()
}

// TestSynthetic: suites and options that no library here speaks any more, as tshark
// decrypts them, too.
func TestSynthetic(t *testing.T) {
	var traces []*trace
	var names []string
	var lacks []bool // tshark 4.0 does not have the suite
	add := func(name string, p parameters, v2 bool) {
		tr := syntheticTrace(t, p, v2)
		o := decode(t, tr)
		o.wantPlain(t, tr)
		if o.info == nil || o.info.Finished == 0 || o.info.Cipher != suiteName(p.suite.id) || len(o.verdicts) > 0 {
			t.Errorf("%s: %+v %+v", name, o.info, o.verdicts)
		}
		traces, names, lacks = append(traces, tr), append(names, name), append(lacks, p.suite.id == 0x0061 || p.suite.id == 0x0062)
	}
	for _, id := range []uint16{
		0x0003, 0x0006, 0x0008, // RSA_EXPORT: RC4_40_MD5, RC2_CBC_40_MD5, DES40_CBC_SHA
		0x0060, 0x0061, 0x0062, 0x0064, // RSA_EXPORT1024: RC4_56_MD5, RC2_CBC_56_MD5, DES_CBC_SHA, RC4_56_SHA
		0x0001, 0x0002, 0x0007, 0x0009, 0x000a, 0x0096, // NULL_MD5, NULL_SHA, IDEA, DES, 3DES, SEED
	} {
		for _, v := range []uint16{versionSSL3, versionTLS10, versionTLS11, versionTLS12} {
			if s := newSuite(id); s.export == 0 || v <= versionTLS10 {
				add(fmt.Sprintf("%s %s", s.name, versionName(v)), parameters{version: v, suite: s}, false)
			}
		}
	}
	add("IDEA encrypt-then-MAC", parameters{version: versionTLS12, suite: newSuite(7), encryptThenMAC: true}, false)
	add("SEED encrypt-then-MAC", parameters{version: versionTLS10, suite: newSuite(0x96), encryptThenMAC: true}, false)
	for _, id := range []uint16{0x0002, 0x0005, 0x002f} {
		for _, v := range []uint16{versionSSL3, versionTLS10, versionTLS12} {
			add(fmt.Sprintf("deflate %s %s", suiteName(id), versionName(v)), parameters{version: v, suite: newSuite(id), compression: compressionDeflate}, false)
		}
	}
	add("SSL 2's ClientHello", parameters{version: versionTLS10, suite: newSuite(0x2f)}, true)
	add("SSL 2's ClientHello", parameters{version: versionSSL3, suite: newSuite(0x0a)}, true)
	if t.Failed() {
		return
	}
	needTshark(t)
	capture, keys := writeCapture(t, traces)
	for i, got := range tsharkPlain(t, capture, keys, len(traces)) {
		for d := range got {
			if !lacks[i] && !bytes.Equal(got[d], traces[i].sent[d]) {
				t.Errorf("%s: tshark has %d bytes of %d in direction %d", names[i], len(got[d]), len(traces[i].sent[d]), d)
			}
		}
	}
}
