package tlsdec

import (
	"fmt"

	"clipper/bus"
)

// handshake takes handshake bytes of a direction and works on each message as it
// is complete. Messages may span records and share them.
func (c *conn) handshake(h *half, b []byte, begun, t int64) {
	if h.loss.blind {
		return
	}
	if h.skip > 0 {
		n := min(h.skip, len(b))
		h.skip -= n
		b = b[n:]
	}
	held := len(h.messages) > 0
	if held {
		h.messages = append(h.messages, b...)
		b = h.messages
	}
	for len(b) > 0 {
		typ, body, n, err := parseHandshake(b)
		if err == errMore {
			switch {
			case n > maxHandshakeMessage:
				h.messages, h.skip = nil, n-len(b)
			case !held || len(b) < len(h.messages):
				h.messages = append([]byte(nil), b...)
			}
			return
		}
		c.tls.note(h.dir, typ, b[:n])
		c.message(h, typ, body, t)
		if h.mode != modeTLS {
			break
		}
		b = b[n:]
	}
	h.messages = nil
}

// message works on one handshake message. What does not parse is left out: the
// peers judge it, and if they go on, so does the connection.
func (c *conn) message(h *half, typ uint8, body []byte, t int64) {
	s := c.tls
	client := h.dir == bus.ClientToServer
	switch {
	case typ == msgClientHello && client:
		c.clientHello(h, body, t)
	case typ == msgServerHello && !client:
		c.serverHello(h, body, t)
	case typ == msgEncryptedExtensions && !client && s.tls13:
		e, err := parseEncryptedExtensions(body)
		if err != nil {
			return
		}
		if e.alpn != "" {
			s.info.ALPN, s.dirty = e.alpn, true
		}
		c.decideEarly(e.earlyData)
	case typ == msgCertificate:
		c.certificates(h.dir, body)
	case typ == msgCompressedCertificate:
		if body, err := expandCertificate(body); err == nil {
			c.certificates(h.dir, body)
		}
	case typ == msgServerKeyExchange && !client && s.server != nil:
		if g := serverKeyExchangeGroup(body, suiteName(s.server.suite)); g != "" {
			s.info.Group, s.dirty = g, true
		}
	case typ == msgServerHelloDone && !client:
		s.helloDone = true
	case typ == msgClientKeyExchange && client:
		s.premasterID = encryptedPremasterID(body, s.version)
		c.advanced()
	case typ == msgEndOfEarlyData && client && h.epoch == epochEarly:
		h.epoch, h.prot = epochHandshake, nil
	case typ == msgKeyUpdate && s.tls13:
		c.keyUpdate(h)
	case typ == msgFinished:
		c.finished(h, t)
	}
}

func (c *conn) clientHello(h *half, body []byte, t int64) {
	hello, err := parseClientHello(body)
	if err != nil {
		c.damaged(h, "The ClientHello is malformed.")
		return
	}
	c.hello(h, hello, t)
}

// clientHelloV2 works on a ClientHello in SSL 2's format.
func (c *conn) clientHelloV2(h *half, record []byte, t int64) {
	hello, err := parseClientHelloV2(record)
	if err != nil {
		c.damaged(h, "The ClientHello is malformed.")
		return
	}
	c.hello(h, hello, t)
	if hello.version == versionSSL2 {
		c.tls.info.Version, c.tls.dirty = versionName(versionSSL2), true
		c.unsupported(bus.VerdictVersion, "the version "+versionName(versionSSL2))
	}
}

// hello takes note of a ClientHello.
func (c *conn) hello(h *half, hello *clientHello, t int64) {
	s := c.tls
	first := s.hello == nil
	if !first && s.retried && s.server != nil && s.server.retry {
		// The second one after a HelloRetryRequest has the same random.
		s.hello.earlyData = false
		return
	}
	s.hello, s.random = hello, hello.random[:]
	s.helloDone, s.premasterID, s.master, s.exchanged = false, nil, nil, false
	if !first { // renegotiation
		return
	}
	i := &s.info
	i.SNI, i.ClientALPN, i.ClientRandom = hello.serverName, hello.alpn, hello.random[:]
	transport := byte('t')
	if c.quic != nil {
		transport = 'q'
	}
	i.JA3, i.JA4 = ja3(hello), ja4(hello, transport)
	s.dirty = true
	c.flushInfo(t)
	c.advanced()
}

func (c *conn) serverHello(h *half, body []byte, t int64) {
	s := c.tls
	hello, err := parseServerHello(body)
	if err != nil || s.hello == nil {
		c.damaged(h, "The ServerHello is malformed or answers nothing.")
		return
	}
	renegotiation := s.server != nil && !s.server.retry
	s.server, s.version, s.suite = hello, hello.version, newSuite(hello.suite)
	client := &c.half[bus.ClientToServer]
	if hello.retry {
		s.retried = true
		if client.epoch == epochEarly {
			client.epoch, client.prot = epochPlain, nil
		}
		c.decideEarly(false)
		c.advanced()
		return
	}
	if renegotiation {
		return
	}
	i := &s.info
	i.Version, i.Cipher = versionName(s.version), suiteName(hello.suite)
	if hello.group != 0 {
		i.Group = groupName(hello.group)
	}
	if hello.alpn != "" {
		i.ALPN = hello.alpn
	}
	i.Resumed = hello.preSharedKey
	s.dirty = true
	c.flushInfo(t)
	c.advanced()
	switch {
	case s.version == versionTLS13 || s.version >= 0x7f00+25 && s.version <= 0x7f00+28:
		s.tls13, s.transcript = true, nil
		if s.suite == nil || !s.suite.aeadCipher() {
			c.unsupported(bus.VerdictSuite, "the cipher suite "+suiteName(hello.suite))
			return
		}
		h.epoch, h.prot = epochHandshake, nil
		if client.epoch == epochPlain {
			client.epoch, client.prot = epochHandshake, nil
			if s.hello.earlyData && !s.retried && c.quic == nil { // QUIC has no EndOfEarlyData
				client.epoch = epochEarly
			}
		}
		if !s.hello.earlyData {
			s.earlyOver = true
		}
	case s.version < versionSSL3 || s.version > versionTLS12:
		c.unsupported(bus.VerdictVersion, fmt.Sprintf("the version %s", versionName(s.version)))
	}
}

// certificates takes note of a peer's chain: the server's first one, the client's last.
func (c *conn) certificates(from bus.Dir, body []byte) {
	certs, err := parseCertificate(body, c.tls.tls13)
	if err != nil || len(certs) == 0 {
		return
	}
	switch i := &c.tls.info; {
	case from == bus.ClientToServer:
		i.ClientCertificates = certs
	case i.Certificates == nil:
		i.Certificates = certs
	default:
		return
	}
	c.tls.dirty = true
}

// finished takes note of a Finished message: in TLS 1.3 the keys change behind it.
func (c *conn) finished(h *half, t int64) {
	s := c.tls
	if s.tls13 {
		if h.epoch != epochHandshake {
			return // post-handshake authentication
		}
		h.epoch, h.prot = epochTraffic, nil
	}
	h.finished = true
	if c.half[0].finished && c.half[1].finished && s.info.Finished == 0 {
		s.info.Finished, s.dirty = t, true
		c.flushInfo(t)
	}
}
