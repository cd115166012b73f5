package tlsdec

import (
	"bytes"
	"fmt"

	"clipper/bus"
)

// quicFlow is a UDP flow that speaks QUIC. Its Initial packets are opened for the
// facts of the two hellos; what follows them is not decoded.
type quicFlow struct {
	version uint32
	// destination is the connection id that keys are derived from.
	destination []byte
	keys        [2]*quicInitialKeys // nil: a version without known salt
	crypto      [2]quicCrypto
	settled     [2]bool // the hello of the direction was read
}

// detectQUIC returns the flow that begins with datagram b, or nil if it is not QUIC.
func detectQUIC(b []byte) *quicFlow {
	h, err := parseQUICLongHeader(b)
	if err != nil || len(b) < 1200 { // RFC 9000, section 14.1
		return nil
	}
	_, known := quicSalts[h.version]
	switch {
	case known && !h.initial, !known && h.version>>8 != 0xff0000 && h.version&0x0f0f0f0f != 0x0a0a0a0a:
		return nil
	}
	q := &quicFlow{version: h.version}
	if known {
		q.derive(h.destination)
	}
	return q
}

func (q *quicFlow) derive(destination []byte) {
	q.destination = bytes.Clone(destination)
	for d := range q.keys {
		q.keys[d] = newQUICInitialKeys(q.version, destination, bus.Dir(d))
	}
}

// quicDatagram reads the facts of a QUIC datagram. Its bytes are not passed on.
func (c *conn) quicDatagram(r *bus.Record) {
	q := c.quic
	if c.tls == nil {
		c.tls = newSession(r.Time)
		c.tls.dirty = false
	}
	if q.keys[0] == nil {
		c.unreadableQUIC(r.Time)
		return
	}
	d := r.Dir & 1
	for b := r.Payload; len(b) > 0 && !q.settled[bus.ServerToClient]; {
		h, err := parseQUICLongHeader(b)
		if err != nil {
			return
		}
		if h.initial && h.version == q.version {
			c.quicInitial(d, b, h, r.Time)
		}
		b = b[h.end:]
	}
}

func (c *conn) quicInitial(d bus.Dir, b []byte, h quicLongHeader, t int64) {
	q := c.quic
	frames, err := q.keys[d].open(b, h)
	if err != nil && d == bus.ClientToServer {
		// After a Retry the client begins again with another connection id.
		if k := newQUICInitialKeys(q.version, h.destination, d); k != nil {
			if frames, err = k.open(b, h); err == nil {
				q.derive(h.destination)
				q.crypto = [2]quicCrypto{}
			}
		}
	}
	if err != nil || q.settled[d] || quicCryptoFrames(frames, q.crypto[d].add) != nil {
		return
	}
	typ, body, _, err := parseHandshake(q.crypto[d].ready())
	if err != nil {
		return
	}
	s := c.tls
	switch {
	case typ == msgClientHello && d == bus.ClientToServer:
		hello, err := parseClientHello(body)
		if err != nil {
			break
		}
		s.hello = hello
		i := &s.info
		i.SNI, i.ClientALPN, i.ClientRandom = hello.serverName, hello.alpn, hello.random[:]
		i.JA3, i.JA4 = ja3(hello), ja4(hello, 'q')
		s.dirty = true
	case typ == msgServerHello && d == bus.ServerToClient:
		hello, err := parseServerHello(body)
		if err != nil || hello.retry {
			break
		}
		i := &s.info
		i.Version, i.Cipher, i.Resumed = versionName(hello.version), suiteName(hello.suite), hello.preSharedKey
		if hello.group != 0 {
			i.Group = groupName(hello.group)
		}
		s.dirty = true
	}
	q.settled[d], q.crypto[d] = true, quicCrypto{}
	c.flushInfo(t)
	c.unreadableQUIC(t)
}

// unreadableQUIC gives the verdict on a QUIC flow.
func (c *conn) unreadableQUIC(t int64) {
	name := fmt.Sprintf("version 0x%08x", c.quic.version)
	switch c.quic.version {
	case quicVersion1, quicVersion2:
		name = "version 1"
		if c.quic.version == quicVersion2 {
			name = "version 2"
		}
	}
	c.opaque(bus.Verdict{Code: bus.VerdictVersion, Reason: "The connection to " + c.to() + " is QUIC " + name + ", which Clipper does not decode yet.",
		Help: "Switch HTTP/3 off in the program, and it will speak HTTP/2 over TCP."}, t)
}
