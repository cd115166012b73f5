package tlsdec

import (
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// aeadProtection is that of the AEAD suites: TLS 1.3 (RFC 8446, section 5.2),
// GCM and CCM of TLS 1.2 with an explicit nonce (RFC 5288, RFC 6655), and
// ChaCha20-Poly1305 of TLS 1.2 (RFC 7905).
type aeadProtection struct {
	aead     cipher.AEAD
	seq      uint64
	tag      int
	explicit int // bytes of the nonce in the record
	tls13    bool
	iv       [12]byte
	nonce    [12]byte
	aad      [13]byte
}

func newAEAD(s *suite, key []byte) cipher.AEAD {
	if s.cipher == cipherChaCha20 {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			return nil
		}
		return a
	}
	block, err := s.block(key)
	if err != nil {
		return nil
	}
	if s.cipher == cipherCCM {
		return newCCM(block, s.tagLen)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil
	}
	return a
}

func (p *aeadProtection) sequence() *uint64 { return &p.seq }

func (p *aeadProtection) anyOrder() bool { return true }

func (p *aeadProtection) overhead() int {
	if p.tls13 {
		return p.tag + 1 // without padding, as everybody sends
	}
	return p.tag + p.explicit
}

func (p *aeadProtection) open(dst, record []byte) (contentType, []byte, error) {
	body := record[recordHeaderLen:]
	if len(body) < p.explicit+p.tag {
		return 0, nil, errOpen
	}
	p.nonce = p.iv
	if p.explicit > 0 {
		copy(p.nonce[12-p.explicit:], body)
		body = body[p.explicit:]
	} else {
		binary.BigEndian.PutUint64(p.nonce[4:], binary.BigEndian.Uint64(p.iv[4:])^p.seq)
	}
	var aad []byte
	if p.tls13 {
		aad = record[:recordHeaderLen]
	} else {
		binary.BigEndian.PutUint64(p.aad[:], p.seq)
		copy(p.aad[8:], record[:3])
		binary.BigEndian.PutUint16(p.aad[11:], uint16(len(body)-p.tag))
		aad = p.aad[:]
	}
	plain, err := p.aead.Open(dst[:0], p.nonce[:], body, aad)
	if err != nil {
		return 0, nil, errOpen
	}
	p.seq++
	if !p.tls13 {
		return contentType(record[0]), plain, nil
	}
	// TLSInnerPlaintext: content, type, zeros (RFC 8446, section 5.4).
	for i := len(plain) - 1; i >= 0; i-- {
		if plain[i] != 0 {
			return contentType(plain[i]), plain[:i], nil
		}
	}
	return 0, nil, nil
}
