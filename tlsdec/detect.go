package tlsdec

import (
	"clipper/bus"
)

// probe is how far bytes look like the beginning of TLS.
type probe uint8

const (
	no    probe = iota
	maybe       // all of it fits, more is needed
	yes
)

// probeLen is the most that is held back to decide.
const probeLen = 44

// probeClientHello looks at the beginning of a record that should hold a ClientHello.
func probeClientHello(b []byte) probe {
	want := probeLen
	if len(b) >= recordHeaderLen { // a ClientHello may be cut into small records
		want = min(want, recordHeaderLen+int(b[3])<<8+int(b[4]))
	}
	for i, x := range b[:min(len(b), want)] {
		ok := true
		switch i {
		case 0:
			ok = x == byte(typeHandshake)
		case 1, 9: // versions: record and legacy_version
			ok = x == 3
		case 2, 10:
			ok = x <= 4
		case 3:
			ok = x <= maxPlaintext>>8
		case 4:
			ok = b[3] != 0 || x >= 6
		case 5:
			ok = x == msgClientHello
		case 6: // no ClientHello is longer than 64 KiB
			ok = x == 0
		case 8:
			ok = b[7] != 0 || x >= 38
		case 43: // session_id
			ok = x <= 32
		}
		if !ok {
			return no
		}
	}
	if len(b) < want {
		return maybe
	}
	return yes
}

// maxPreface is how much of a client's stream may come before TLS in the middle of a chunk:
// a request for TLS, sent together with the ClientHello (MySQL).
const maxPreface = 16 << 10

// findClientHello returns where in b, behind its first byte, a ClientHello may begin that
// is the last thing in b; len(b) if nowhere.
func findClientHello(b []byte) int {
	for i := 1; i < len(b); i++ {
		if b[i] != byte(typeHandshake) || probeClientHello(b[i:]) == no {
			continue
		}
		hello := b[i:]
		if len(hello) < recordHeaderLen+handshakeHeaderLen {
			return i
		}
		record, message := int(hello[3])<<8|int(hello[4]), int(hello[7])<<8|int(hello[8])
		if record == handshakeHeaderLen+message && len(hello) <= recordHeaderLen+record {
			return i
		}
	}
	return len(b)
}

// probeServer looks at the beginning of what answers a ClientHello: a
// ServerHello or an alert.
func probeServer(b []byte) probe {
	for i, x := range b[:min(len(b), 6)] {
		ok := true
		switch i {
		case 0:
			ok = x == byte(typeHandshake) || x == byte(typeAlert)
		case 1:
			ok = x == 3 || x == 0x7f
		case 3:
			ok = x <= maxPlaintext>>8 && (b[0] != byte(typeAlert) || x == 0)
		case 4:
			ok = b[0] != byte(typeAlert) || x == 2
		case 5:
			if b[0] == byte(typeAlert) {
				ok = x == alertWarning || x == alertFatal
			} else {
				ok = x == msgServerHello || x == msgHelloRequest
			}
		}
		if !ok {
			return no
		}
	}
	if len(b) < 6 {
		return maybe
	}
	return yes
}

// probeRecords looks at bytes of a connection whose beginning is missing: they
// are TLS if the header of a record is followed by another one.
func probeRecords(b []byte) probe {
	h, n, err := parseRecordHeader(b)
	if err == errMore {
		return maybe
	}
	if err != nil || h.length == 0 || h.typ == typeHeartbeat || h.version>>8 != 3 || h.version > versionTLS12 {
		return no
	}
	if len(b) > n+h.length {
		if _, _, err := parseRecordHeader(b[n+h.length:]); err == errRecord {
			return no
		}
		return yes
	}
	if h.typ == typeApplicationData || h.typ == typeHandshake || len(b) == n+h.length {
		return yes
	}
	return no
}

// clear works on bytes of a direction that is not TLS so far: at the beginning of
// each chunk it looks whether TLS starts.
func (c *conn) clear(h *half, r *bus.Record) status {
	b := r.Payload
	if len(b) == 0 {
		return done
	}
	if len(h.undecided) > 0 {
		b = nil
		for i := range h.undecided {
			b = append(b, h.undecided[i].Payload...)
		}
		b = append(b, r.Payload[:min(len(r.Payload), probeLen)]...)
	}
	answer := no
	switch {
	case h.dir == bus.ClientToServer:
		if c.tls == nil {
			answer = probeClientHello(b)
			if h.out == 0 && answer == no {
				answer = probeClientHelloV2(b)
			}
		}
	case c.tls != nil && c.tls.hello == nil && c.half[bus.ClientToServer].mode == modeTLS && !c.peerless:
		return needPeer // the rest of the ClientHello came out of order
	case c.tls != nil:
		if answer = probeServer(b); answer == no {
			c.notTLS(h, b, r.Time)
			if h.mode != modeClear {
				return done
			}
		}
	case h.out == 0 && c.half[bus.ClientToServer].out == 0 && !c.peerless && b[0] == byte(typeHandshake) && probeServer(b) != no:
		return needPeer // the client's side was captured late, or not at all
	}
	if answer == no && c.open.Partial && c.tls == nil || answer == no && c.peerless && h.out == 0 {
		if probeRecords(b) == yes {
			c.midstream(r.Time)
			return done
		}
	}
	switch answer {
	case maybe:
		c.hold(&h.undecided, r)
		r.Payload = nil
	case no:
		c.flushHalf(h)
		at := len(r.Payload)
		if h.dir == bus.ClientToServer && c.tls == nil && r.Offset < maxPreface {
			at = findClientHello(r.Payload)
		}
		before := *r
		before.Payload = r.Payload[:at]
		c.forward(&before)
		r.Payload, r.Offset = r.Payload[at:], r.Offset+uint64(at)
		h.out = r.Offset
		c.advanced()
		if len(r.Payload) > 0 {
			return c.clear(h, r)
		}
	case yes:
		c.begin(h, r)
	}
	return done
}

// begin starts TLS in a direction, with what was undecided.
func (c *conn) begin(h *half, r *bus.Record) {
	first := r
	if len(h.undecided) > 0 {
		first = &h.undecided[0].Record
	}
	h.mode, h.out = modeTLS, first.Offset
	h.v2 = h.dir == bus.ClientToServer && c.tls == nil && first.Payload[0]&0x80 != 0
	started := first.Time
	if c.tls == nil {
		c.tls = newSession(started)
		c.tls.late = h.out > 0
	}
	c.advanced()
	for len(h.undecided) > 0 {
		c.feed(h, &h.undecided[0].Record) // too short to stop anywhere
		c.unhold(&h.undecided)
	}
}

// flushUndecided lets bytes pass that might have become TLS.
func (c *conn) flushUndecided() {
	c.flushHalf(&c.half[0])
	c.flushHalf(&c.half[1])
}

func (c *conn) flushHalf(h *half) {
	for len(h.undecided) > 0 {
		// The beginning of an answer to a ClientHello is no plaintext.
		if r := &h.undecided[0].Record; c.tls == nil || c.tls.late {
			c.forward(r)
			h.out = r.Offset + uint64(len(r.Payload))
		}
		c.unhold(&h.undecided)
	}
}
