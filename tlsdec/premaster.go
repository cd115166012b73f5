package tlsdec

import (
	"crypto/md5"
	"crypto/sha1"

	"clipper/bus"
)

// note keeps the handshake messages that an extended master secret depends on.
// What the server sends behind its ServerHelloDone answers the ClientKeyExchange,
// though it may be captured before that.
func (s *session) note(from bus.Dir, typ uint8, message []byte) {
	switch {
	case s.tls13 || s.exchanged || typ == msgHelloRequest || from == bus.ServerToClient && s.helloDone:
		return
	case typ == msgClientHello:
		s.transcript = nil
	case len(s.transcript)+len(message) > maxHandshakeMessage:
		s.exchanged = true // an honest handshake is shorter
		return
	}
	s.transcript = append(s.transcript, message...)
	s.exchanged = typ == msgClientKeyExchange
}

// encryptedPremasterID is what an RSA line of a key log calls the premaster
// secret by: the first 8 bytes of its encrypted form (RFC 5246, section 7.4.7.1).
func encryptedPremasterID(body []byte, version uint16) []byte {
	if version > versionSSL3 && len(body) > 2 {
		body = body[2:] // length
	}
	if len(body) < 8 {
		return nil
	}
	return append([]byte(nil), body[:8]...)
}

// masterSecret computes the master secret of a premaster secret (RFC 5246, section
// 8.1), or the extended one (RFC 7627, section 4).
func (s *session) masterSecret(p *parameters, premaster []byte) []byte {
	seed := append(append([]byte(nil), p.clientRandom[:]...), p.serverRandom[:]...)
	switch {
	case p.version == versionSSL3:
		return ssl3PRF(premaster, seed, 48)
	case s.server == nil || !s.server.extendedMaster:
		return prf(p.version, p.suite.prf, premaster, "master secret", seed, 48)
	}
	var sum []byte
	if p.version >= versionTLS12 {
		h := p.suite.prf()
		h.Write(s.transcript)
		sum = h.Sum(nil)
	} else {
		m, h := md5.Sum(s.transcript), sha1.Sum(s.transcript)
		sum = append(m[:], h[:]...)
	}
	return prf(p.version, p.suite.prf, premaster, "extended master secret", sum, 48)
}
