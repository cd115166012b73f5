package tlsdec

import (
	"fmt"

	"clipper/bus"
)

// record works on one complete record of a direction; begun and t are the
// packet times of its first and last byte.
func (c *conn) record(h *half, record []byte, begun, t int64) status {
	s := c.tls
	typ, fragment := contentType(record[0]), record[recordHeaderLen:]
	if typ == typeChangeCipherSpec {
		return c.changeCipherSpec(h)
	}
	switch h.epoch {
	case epochMaster:
		return c.recordMaster(h, record, t)
	case epochEarly, epochHandshake, epochTraffic:
		if typ == typeApplicationData {
			return c.record13(h, record, t)
		}
		if typ == typeAlert && len(fragment) == 2 && h.prot == nil {
			c.alert(h, fragment, t) // sent by who never got the keys
		}
		if typ == typeHandshake && h.epoch == epochEarly {
			c.handshake(h, fragment, begun, t) // the ClientHello after a HelloRetryRequest
		}
		return done
	}
	switch typ {
	case typeHandshake:
		c.handshake(h, fragment, begun, t)
	case typeAlert:
		c.alert(h, fragment, t)
	case typeApplicationData:
		switch {
		case h.dir == bus.ClientToServer && s.hello != nil && s.hello.earlyData && !s.retried && s.server == nil:
			h.epoch = epochEarly
			return c.record13(h, record, t)
		case s.retried: // early data on its way when the server refused it
		case s.server == nil && !c.peerless:
			return needPeer
		default:
			c.damaged(h, "Application data came in the middle of the handshake.")
		}
	}
	return done
}

// changeCipherSpec changes to the keys that were negotiated, before TLS 1.3;
// in TLS 1.3 it means nothing (RFC 8446, appendix D.4).
func (c *conn) changeCipherSpec(h *half) status {
	s := c.tls
	if s.server == nil {
		switch {
		case s.hello != nil && s.hello.offers13() && s.hello.earlyData:
			return done
		case c.peerless:
			c.damaged(h, "The ServerHello was not captured.")
			return done
		}
		return needPeer
	}
	if s.tls13 || s.server.retry {
		return done
	}
	client := &c.half[bus.ClientToServer]
	if h == client {
		c.advanced()
	} else if s.helloDone && !s.exchanged && client.mode == modeTLS && client.epoch == epochPlain && !client.loss.blind && !c.peerless {
		return needPeer // the ClientKeyExchange, which names the secret, came out of order
	}
	if h.dir == bus.ServerToClient && !s.helloDone && !s.info.Resumed {
		s.info.Resumed, s.dirty = true, true // abbreviated handshake (RFC 5246, section 7.3)
	}
	if s.suite == nil {
		c.unsupported(bus.VerdictSuite, "the cipher suite "+suiteName(s.server.suite))
		return done
	}
	if m := s.server.compression; m != compressionNull && m != compressionDeflate {
		c.unsupported(bus.VerdictSuite, fmt.Sprintf("the compression method %d", m))
		return done
	}
	h.epoch, h.prot = epochMaster, nil
	h.params = parameters{version: s.version, suite: s.suite, clientRandom: s.hello.random, serverRandom: s.server.random,
		encryptThenMAC: s.server.encryptThenMAC, compression: s.server.compression}
	h.messages, h.loss.blind = nil, false
	return done
}

// content works on a decrypted record of any version.
func (c *conn) content(h *half, typ contentType, plain []byte, t int64) {
	switch typ {
	case typeHandshake:
		c.handshake(h, plain, t, t)
	case typeAlert:
		c.alert(h, plain, t)
	case typeApplicationData:
		c.data(h, plain, t, 0)
	}
}

// alert takes note of alerts.
func (c *conn) alert(h *half, b []byte, t int64) {
	for ; len(b) >= 2; b = b[2:] {
		level, code := b[0], b[1]
		switch {
		case code == alertCloseNotify:
			c.flushInfo(t)
			c.closeHalf(h, t)
			continue
		case code == alertUserCanceled || code == alertNoRenegotiation,
			!c.tls.tls13 && level == alertWarning:
			continue
		}
		if c.tls.failed {
			continue
		}
		a := &bus.Alert{Dir: h.dir, Level: "fatal", Description: alertName(code), Code: code, Time: t}
		c.tls.failed = true
		c.tls.info.Alert, c.tls.dirty = a, true
		c.refused(a)
		c.flushInfo(t)
	}
}
