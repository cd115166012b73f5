package tlsdec

import "clipper/bus"

// protection undoes the record protection of one direction and epoch. The
// sequence number goes up with each record that opened.
type protection interface {
	// open authenticates and decrypts a whole record, header included, and
	// returns its content type and plaintext, which is in dst's memory or in the
	// protection's own and valid until the next call.
	open(dst, record []byte) (contentType, []byte, error)
	// sequence is the number of the next record.
	sequence() *uint64
	// overhead is how much longer than its plaintext a fragment is; with CBC, about.
	overhead() int
	// anyOrder reports whether records can be opened without the ones before.
	anyOrder() bool
	// code codes the state that keys do not give.
	code(*codec)
}

// newProtection13 protects with a traffic secret (RFC 8446, section 5.2).
func newProtection13(s *suite, secret []byte) protection {
	if s == nil || !s.aeadCipher() || len(secret) != s.prf().Size() {
		return nil
	}
	key, iv := trafficKeys(s, secret)
	a := newAEAD(s, key)
	if a == nil {
		return nil
	}
	p := &aeadProtection{aead: a, tls13: true, tag: s.tagLen}
	copy(p.iv[:], iv)
	return p
}

// newProtection12 protects direction d with the keys of a master secret
// (RFC 5246, section 6.3).
func newProtection12(p *parameters, master []byte, d bus.Dir) protection {
	s := p.suite
	ivLen := s.ivLen
	if s.cipher == cipherCBC && p.version >= versionTLS11 {
		ivLen = 0 // it is in the record
	}
	keyLen := s.keyLen
	if s.export > 0 {
		keyLen, ivLen = s.export, 0
	}
	block := keyBlock(p, master, 2*(s.macLen+keyLen+ivLen))
	cut := func(n int) []byte {
		both := block[:2*n]
		block = block[2*n:]
		if d == bus.ClientToServer {
			return both[:n]
		}
		return both[n:]
	}
	mac, key, iv := cut(s.macLen), cut(keyLen), cut(ivLen)
	if s.export > 0 {
		key, iv = exportKeys(p, key, d)
	}
	switch s.cipher {
	case cipherGCM, cipherCCM, cipherChaCha20:
		a := newAEAD(s, key)
		if a == nil || p.version < versionTLS12 {
			return nil
		}
		r := &aeadProtection{aead: a, tag: s.tagLen}
		if s.cipher != cipherChaCha20 {
			r.explicit = 8
		}
		copy(r.iv[:], iv)
		return r
	}
	return newMACProtection(p, mac, key, iv)
}
