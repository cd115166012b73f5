package tlsdec

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"hash"

	"clipper/tlsdec/internal/rc4"
)

// macProtection is that of the suites with a MAC of their own: CBC
// (RFC 5246, section 6.2.3.2; RFC 7366 for encrypt-then-MAC), RC4 and NULL.
type macProtection struct {
	version        uint16
	seq            uint64
	encryptThenMAC bool
	cbc            cipher.BlockMode // nil: not CBC
	stream         *rc4.Cipher      // nil: not RC4
	blockLen       int
	chain          []byte // before TLS 1.1: the block before the next record
	mac            hash.Hash
	macLen         int
	ssl3           *ssl3MAC
	header         [13]byte
	sum            []byte
}

func newMACProtection(p *parameters, macKey, key, iv []byte) protection {
	s := p.suite
	r := &macProtection{version: p.version, macLen: s.macLen}
	if p.version == versionSSL3 {
		r.ssl3 = newSSL3MAC(s, macKey)
	} else {
		r.mac = hmac.New(s.mac, macKey)
	}
	switch s.cipher {
	case cipherCBC:
		block, err := s.block(key)
		if err != nil {
			return nil
		}
		r.blockLen = block.BlockSize()
		if len(iv) == 0 {
			iv = make([]byte, r.blockLen) // replaced by each record's
		}
		r.cbc = cipher.NewCBCDecrypter(block, iv)
		r.encryptThenMAC = p.encryptThenMAC
	case cipherRC4:
		var err error
		if r.stream, err = rc4.New(key); err != nil {
			return nil
		}
	}
	return r
}

func (p *macProtection) sequence() *uint64 { return &p.seq }

func (p *macProtection) overhead() int {
	if p.cbc == nil {
		return p.macLen
	}
	n := p.macLen + 1
	if p.version >= versionTLS11 {
		n += p.blockLen
	}
	return n
}

func (p *macProtection) anyOrder() bool {
	return p.stream == nil && (p.cbc == nil || p.version >= versionTLS11)
}

func (p *macProtection) open(dst, record []byte) (contentType, []byte, error) {
	body := record[recordHeaderLen:]
	if len(body) < p.macLen {
		return 0, nil, errOpen
	}
	var tag []byte
	if p.encryptThenMAC {
		body, tag = body[:len(body)-p.macLen], body[len(body)-p.macLen:]
		if !p.authentic(record, body, tag) {
			return 0, nil, errOpen
		}
	}
	plain := append(dst[:0], body...)
	switch {
	case p.cbc != nil:
		if len(plain)%p.blockLen != 0 || len(plain) == 0 {
			return 0, nil, errOpen
		}
		if p.version >= versionTLS11 {
			p.setIV(plain[:p.blockLen])
			plain = plain[p.blockLen:]
		} else {
			p.chain = append(p.chain[:0], plain[len(plain)-p.blockLen:]...)
		}
		p.cbc.CryptBlocks(plain, plain)
		if len(plain) == 0 {
			return 0, nil, errOpen
		}
		n := len(plain) - 1 - int(plain[len(plain)-1])
		if n < 0 || p.ssl3 != nil && len(plain)-n > p.blockLen {
			return 0, nil, errOpen
		}
		plain = plain[:n]
	case p.stream != nil:
		p.stream.XORKeyStream(plain, plain)
	}
	if !p.encryptThenMAC {
		n := len(plain) - p.macLen
		if n < 0 {
			return 0, nil, errOpen
		}
		plain, tag = plain[:n], plain[n:]
		if !p.authentic(record, plain, tag) {
			return 0, nil, errOpen
		}
	}
	p.seq++
	return contentType(record[0]), plain, nil
}

func (p *macProtection) setIV(iv []byte) {
	p.cbc.(interface{ SetIV([]byte) }).SetIV(iv) // all of the standard library's have it
}

// authentic checks the MAC over sequence number, type, version, length and content.
func (p *macProtection) authentic(record, content, tag []byte) bool {
	if p.macLen == 0 {
		return true
	}
	binary.BigEndian.PutUint64(p.header[:], p.seq)
	copy(p.header[8:], record[:3])
	binary.BigEndian.PutUint16(p.header[11:], uint16(len(content)))
	if p.ssl3 != nil {
		p.sum = p.ssl3.sum(p.sum[:0], p.header[:], content)
	} else {
		p.mac.Reset()
		p.mac.Write(p.header[:])
		p.mac.Write(content)
		p.sum = p.mac.Sum(p.sum[:0])
	}
	return bytes.Equal(p.sum, tag)
}

// ssl3MAC is the MAC of SSL 3 (RFC 6101, section 5.2.3.1), a forerunner of HMAC.
type ssl3MAC struct {
	hash hash.Hash
	key  []byte
	pad  int
	tmp  []byte
}

func newSSL3MAC(s *suite, key []byte) *ssl3MAC {
	m := &ssl3MAC{hash: s.mac(), key: key, pad: 40}
	if m.hash.Size() == 16 {
		m.pad = 48
	}
	return m
}

func (m *ssl3MAC) sum(out, header, content []byte) []byte {
	m.hash.Reset()
	m.hash.Write(m.key)
	m.hash.Write(bytes.Repeat([]byte{0x36}, m.pad))
	m.hash.Write(header[:9]) // sequence number and type, without version
	m.hash.Write(header[11:13])
	m.hash.Write(content)
	m.tmp = m.hash.Sum(m.tmp[:0])
	m.hash.Reset()
	m.hash.Write(m.key)
	m.hash.Write(bytes.Repeat([]byte{0x5c}, m.pad))
	m.hash.Write(m.tmp)
	return m.hash.Sum(out)
}
