package tlsdec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"clipper/bus"
)

// quicFlow is a UDP flow that speaks QUIC (RFC 9000). One connection after the
// other may use it. Its packets are worked on in the order in which they came; the
// handshake is TLS 1.3 (RFC 9001), for which the functions of TLS serve.
type quicFlow struct {
	version uint32
	// destination is the connection id that the keys of Initial packets are derived from.
	destination []byte
	initial     [2]*quicKeys // nil: a version that is not known
	sides       [2]quicSide
	streams     quicStreams
	waiting     []quicPacket // for the ServerHello, or for what it says of 0-RTT
	waits       int          // bytes of waiting
	closed      bool         // CONNECTION_CLOSE was seen
	count       uint64       // connections before this one
}

// quicSide is one direction: its keys, packet numbers and handshake.
type quicSide struct {
	ids     []string                    // connection ids that its short headers may have, the newest last
	keys    [epochTraffic + 1]*quicKeys // epochPlain is in initial
	before  *quicKeys                   // of the last key phase
	after   *quicKeys                   // of the next one
	phase   bool
	largest [3]uint64     // packet number by space: Initial, Handshake, application data
	crypto  [2]quicCrypto // Initial, Handshake
	foreign bool          // a packet fitted no secret that was logged
}

// quicPacket is one that waits.
type quicPacket struct {
	dir  bus.Dir
	b    []byte
	time int64
}

const maxQUICWaiting = 128 << 10 // bytes

// space is the packet number space of an epoch (RFC 9000, section 12.3).
func (e epoch) space() int {
	switch e {
	case epochPlain:
		return 0
	case epochHandshake:
		return 1
	}
	return 2
}

// detectQUIC returns the flow that begins with datagram b, or nil if it is not QUIC.
func detectQUIC(b []byte) *quicFlow {
	h, err := parseQUICLongHeader(b)
	if err != nil || len(b) < 1200 || b[0]&0x40 == 0 { // RFC 9000, sections 14.1 and 17.2
		return nil
	}
	_, known := quicSalts[h.version]
	switch {
	case known && h.typ != quicInitial, !known && h.version>>8 != 0xff0000 && h.version&0x0f0f0f0f != 0x0a0a0a0a:
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
	for d := range q.initial {
		q.initial[d] = newQUICInitialKeys(q.version, destination, bus.Dir(d))
	}
}

// quicRecord works on one record of a QUIC flow. If it is not consumed, r is what is left of it.
func (c *conn) quicRecord(r *bus.Record) (st status, consumed bool) {
	c.at = r.Time
	switch r.Type {
	case bus.Data:
		if c.tls == nil {
			c.beginQUIC(r.Time)
		}
		for {
			if st := c.workWaiting(); st != done {
				return st, false
			}
			if len(r.Payload) == 0 {
				return done, true
			}
			c.at = r.Time
			n, st := c.quicPacket(r.Dir&1, r.Payload, r.Time)
			if st != done {
				return st, false
			}
			r.Payload = r.Payload[n:]
		}
	case bus.End:
		c.endQUIC()
		c.end(r)
		return done, true
	}
	c.forward(r)
	return done, true
}

func (c *conn) beginQUIC(t int64) {
	c.tls = newSession(t)
	c.tls.dirty = false // nothing is known that is worth telling
	for d := range c.half {
		c.half[d].mode = modeTLS
	}
}

// endQUIC gives up what the connection still waits for.
func (c *conn) endQUIC() {
	c.dropWaiting()
	c.endStreams()
	if c.quic.initial[0] == nil {
		c.unknownQUIC(c.at, false)
	}
	for d := range c.quic.sides {
		if s := &c.quic.sides[d]; s.foreign && s.keys[epochTraffic] == nil {
			c.wants = label13(bus.Dir(d), epochTraffic)
			c.unreadable(&c.half[d])
		}
	}
}

func (c *conn) dropWaiting() {
	q := c.quic
	c.addHeld(-q.waits)
	q.waiting, q.waits = nil, 0
}

// again begins another connection on the flow (the same sockets). On Plain it is
// another one, too.
func (c *conn) again(version uint32, destination []byte, t int64) {
	c.endQUIC()
	payload, err := json.Marshal(bus.ConnEnd{Reason: bus.EndReused})
	if err != nil {
		return // it holds no type that can fail
	}
	end := &bus.Record{Type: bus.End, Payload: payload, Time: t}
	c.conclude(end)
	c.give(end)
	q := &quicFlow{version: version, count: c.quic.count + 1}
	q.derive(destination)
	c.quic, c.verdict, c.preliminary, c.unread = q, "", false, nil
	c.half = [2]half{{}, {dir: bus.ServerToClient}}
	c.beginQUIC(t)
	if payload, err = json.Marshal(&c.open); err == nil {
		c.emit(bus.Open, payload, t)
	}
}

// plainID is the connection's id on Plain. Further connections of a flow get one
// that follows from the flow's: the finalizer of splitmix64 is a bijection, so that
// those of one flow differ, and chance is all that could bring two flows together.
func (c *conn) plainID() bus.ConnID {
	if c.quic == nil || c.quic.count == 0 {
		return c.id
	}
	x := uint64(c.id) + c.quic.count*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return bus.ConnID(x ^ x>>31)
}

// quicPacket works on the packet in front of b and returns its length.
func (c *conn) quicPacket(d bus.Dir, b []byte, t int64) (n int, st status) {
	q := c.quic
	if b[0]&0x80 == 0 {
		return len(b), c.protected(d, b, quicHeader{typ: quicShort, end: len(b)}, t)
	}
	h, err := parseQUICLongHeader(b)
	if err != nil {
		return len(b), done
	}
	if _, known := quicSalts[h.version]; !known && h.version != 0 {
		if q.initial[0] == nil {
			c.unknownQUIC(t, true) // the client may begin again with another version
		}
		return h.end, done
	}
	switch h.typ {
	case quicInitial:
		c.initialPacket(d, b, h, t)
	case quicZeroRTT, quicHandshake:
		if h.version == q.version {
			st = c.protected(d, b[:h.end], h, t)
		}
	}
	if st != done {
		return 0, st
	}
	return h.end, done
}

func (c *conn) initialPacket(d bus.Dir, b []byte, h quicHeader, t int64) {
	q := c.quic
	s := &q.sides[d]
	if h.version == q.version && q.initial[d] != nil {
		if frames, ok := c.openPacket(d, q.initial[d], b, h, epochPlain); ok {
			c.packet(d, h, epochPlain, frames, t)
			return
		}
	}
	if d == bus.ServerToClient {
		// The server may choose another version (RFC 9368).
		if k := newQUICInitialKeys(h.version, q.destination, d); h.version != q.version && c.tls.server == nil && k != nil {
			if frames, ok := c.openPacket(d, k, b, h, epochPlain); ok {
				q.version = h.version
				q.derive(q.destination)
				c.packet(d, h, epochPlain, frames, t)
			}
		}
		return
	}
	// After a Retry or Version Negotiation the client begins again with another
	// connection id, as it does for another connection.
	k := newQUICInitialKeys(h.version, h.destination, d)
	if k == nil {
		return
	}
	was := s.largest[0]
	s.largest[0] = 0
	frames, ok := c.openPacket(d, k, b, h, epochPlain)
	number := s.largest[0]
	switch {
	case !ok:
		s.largest[0] = was
		return
	case c.tls.server == nil:
		c.tls = newSession(c.tls.info.Started)
		c.tls.dirty = false
		c.half[d].messages = nil
		s.crypto[0] = quicCrypto{}
		q.version = h.version
		q.derive(h.destination)
	default:
		c.again(h.version, h.destination, t)
		c.quic.sides[d].largest[0] = number
	}
	c.packet(d, h, epochPlain, frames, t)
}

// openPacket removes the protection of a packet. The frames are in memory that the next
// one uses again.
func (c *conn) openPacket(d bus.Dir, k *quicKeys, b []byte, h quicHeader, e epoch) ([]byte, bool) {
	side, w := &c.quic.sides[d], &c.d.quic
	largest := &side.largest[e.space()]
	u, err := k.unmask(&w.packet, b, h, *largest)
	if err != nil {
		return nil, false
	}
	frames, err := k.open(&w.frames, u)
	if h.typ == quicShort && u.phase != side.phase {
		frames, err = c.openPhase(side, k, u)
	}
	if err != nil {
		return nil, false
	}
	*largest = max(*largest, u.number)
	return frames, true
}

// openPhase opens a packet of another key phase than that of k: of the one before,
// or of the next, which then becomes the current one (RFC 9001, section 6).
func (c *conn) openPhase(side *quicSide, k *quicKeys, u quicUnmasked) ([]byte, error) {
	w := &c.d.quic
	if side.before != nil {
		if frames, err := side.before.open(&w.frames, u); err == nil {
			return frames, nil
		}
	}
	if side.after == nil {
		if side.after = k.next(c.quic.version); side.after == nil {
			return nil, errOpen
		}
	}
	frames, err := side.after.open(&w.frames, u)
	if err == nil {
		side.before, side.keys[epochTraffic], side.after, side.phase = k, side.after, nil, u.phase
	}
	return frames, err
}

// protected works on a packet that needs a secret.
func (c *conn) protected(d bus.Dir, b []byte, h quicHeader, t int64) status {
	q, s := c.quic, c.tls
	e := h.typ.epoch()
	if q.initial[0] == nil || c.half[d].mode == modeOpaque {
		return done
	}
	if s.server == nil || s.server.retry || e == epochEarly && !s.earlyOver {
		c.wait(d, b, t)
		return done
	}
	if e == epochEarly && !s.info.EarlyData {
		return done // the server refused it, and the client sends it again
	}
	frames, ok, st := c.openProtected(d, b, h, e)
	if ok {
		c.packet(d, h, e, frames, t)
	}
	return st
}

// wait keeps a packet until more of the handshake is known.
func (c *conn) wait(d bus.Dir, b []byte, t int64) {
	q := c.quic
	if cost := len(b) + bus.RecordLen; q.waits+cost <= maxQUICWaiting {
		q.waiting = append(q.waiting, quicPacket{d, bytes.Clone(b), t})
		q.waits += cost
		c.addHeld(cost)
	}
}

// workWaiting works on the packets that need not wait any more.
func (c *conn) workWaiting() status {
	q, s := c.quic, c.tls
	if s.server == nil || s.server.retry {
		return done
	}
	for i := 0; i < len(q.waiting); {
		p := &q.waiting[i]
		h := quicHeader{typ: quicShort, end: len(p.b)}
		if p.b[0]&0x80 != 0 {
			h, _ = parseQUICLongHeader(p.b) // as it was parsed before
		}
		if h.typ == quicZeroRTT && !s.earlyOver {
			i++
			continue
		}
		c.at = p.time
		if st := c.protected(p.dir, p.b, h, p.time); st != done {
			return st
		}
		cost := len(q.waiting[i].b) + bus.RecordLen
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.waits -= cost
		c.addHeld(-cost)
	}
	return done
}

// openProtected opens a packet. ok is false for one that is to be left out.
func (c *conn) openProtected(d bus.Dir, b []byte, h quicHeader, e epoch) (frames []byte, ok bool, st status) {
	side, s := &c.quic.sides[d], c.tls
	if k := side.keys[e]; k != nil {
		frames, ok = c.openWith(d, k, b, h, e)
		return frames, ok, done
	}
	if h.typ == quicShort && !side.knows(b) {
		return nil, false, done // of a connection before
	}
	l := label13(d, e)
	c.wants = l
	c.flushInfo(c.at)
	if c.searchSecret(func(en *entry) bool {
		for _, line := range en.find(l, nil) {
			for _, suite := range c.quicSuites(e) {
				k := newQUICKeys(c.quic.version, suite, line.value, line.value)
				if k == nil {
					continue
				}
				if frames, ok = c.openWith(d, k, b, h, e); !ok {
					continue
				}
				if side.keys[e] == nil { // else it was the next phase's
					side.keys[e] = k
				}
				s.random = []byte(en.key)
				s.learned(line.from)
				return true
			}
		}
		return false
	}) {
		return frames, true, done
	}
	en := c.d.secrets.get(s.random)
	switch {
	case en.has(l): // a datagram may be anybody's
		side.foreign = true
		return nil, false, done
	case e == epochHandshake && (c.final || c.warned) && en.trafficOnly(d), // a key log that lacks those of the handshake
		e == epochEarly && (en.has(labelClientHS) || en.has(labelClientTraffic) || c.final): // and one without 0-RTT's
		return nil, false, done
	case c.final:
		c.unreadable(&c.half[d])
		return nil, false, done
	}
	return nil, false, needSecret
}

// openWith opens a packet with keys, whatever the length of its connection id: the one
// with which it came may have been lost.
func (c *conn) openWith(d bus.Dir, k *quicKeys, b []byte, h quicHeader, e epoch) ([]byte, bool) {
	if h.typ != quicShort {
		return c.openPacket(d, k, b, h, e)
	}
	var tried [maxConnectionID + 1]bool
	for _, id := range slices.Backward(c.quic.sides[d].ids) {
		if tried[len(id)] {
			continue
		}
		tried[len(id)], h.number = true, 1+len(id)
		if frames, ok := c.openPacket(d, k, b, h, e); ok {
			return frames, true
		}
	}
	return nil, false
}

// knows reports whether a short header packet has one of the side's connection ids.
func (s *quicSide) knows(b []byte) bool {
	return slices.ContainsFunc(s.ids, func(id string) bool { return len(b) > len(id) && string(b[1:1+len(id)]) == id })
}

// learn notes a connection id that packets of the side may have.
func (s *quicSide) learn(id []byte) {
	const most = 16 // more than peers keep active
	if len(id) > maxConnectionID || slices.Contains(s.ids, string(id)) {
		return
	}
	if s.ids = append(s.ids, string(id)); len(s.ids) > most {
		s.ids = slices.Delete(s.ids, 0, 1)
	}
}

// quicSuites are those that may protect an epoch: 0-RTT has that of the session which is resumed.
func (c *conn) quicSuites(e epoch) []*suite {
	if e != epochEarly {
		return []*suite{c.tls.suite}
	}
	return append([]*suite{c.tls.suite}, offeredSuites13(c.tls.hello)...)
}

// packet works on the frames of a packet.
func (c *conn) packet(d bus.Dir, h quicHeader, e epoch, frames []byte, t int64) {
	q := c.quic
	if h.typ != quicShort {
		q.sides[1-d].learn(h.source)
	}
	s := c.tls
	if e == epochTraffic {
		c.decideEarly(true) // the key log lacks what would say more
		if s.info.ALPN == "" && len(s.info.ClientALPN) == 1 {
			s.info.ALPN, s.dirty = s.info.ClientALPN[0], true
		}
	}
	space := e.space()
	quicFrames(frames, func(f quicFrame) bool {
		switch f.typ {
		case frameCrypto:
			if space < 2 {
				x := &q.sides[d].crypto[space]
				x.add(f.offset, f.data)
				if b := x.take(); len(b) > 0 {
					c.handshake(&c.half[d], b, t, t)
				}
			}
		case frameStream:
			if space == 2 {
				c.streamData(d, f, t)
			}
		case frameResetStream:
			if space == 2 {
				c.resetStream(d, f, t)
			}
		case frameNewConnectionID:
			q.sides[1-d].learn(f.data)
		case frameClose, frameCloseApp:
			c.closed(d, f, t)
			return false
		}
		return true
	})
	if c.half[0].finished && c.half[1].finished && !q.sides[0].crypto[0].over {
		q.dropCrypto()
	}
	c.flushInfo(t)
}

// closed takes a CONNECTION_CLOSE frame.
func (c *conn) closed(d bus.Dir, f quicFrame, t int64) {
	q, s := c.quic, c.tls
	if q.closed {
		return
	}
	q.closed = true
	if f.typ == frameClose && f.code>>8 == 1 && !s.failed { // CRYPTO_ERROR (RFC 9001, section 4.8)
		a := &bus.Alert{Dir: d, Level: "fatal", Description: alertName(uint8(f.code)), Code: uint8(f.code), Time: t}
		s.failed, s.info.Alert, s.dirty = true, a, true
		c.refused(a)
	}
	c.flushInfo(t)
	c.endStreams()
	c.give(&bus.Record{Type: bus.Reset, Dir: d, Stream: bus.AllStreams, Time: t, Aux: uint32(min(f.code, 1<<32-1)), Payload: f.data})
}

// unknownQUIC gives the verdict on a flow of a version that is not known.
func (c *conn) unknownQUIC(t int64, preliminary bool) {
	c.opaque(bus.Verdict{Code: bus.VerdictVersion, Reason: fmt.Sprintf("The connection to %s is QUIC version 0x%08x, which Clipper does not have.", c.to(), c.quic.version),
		Help: "Switch HTTP/3 off in the program, and it will speak HTTP/2 over TCP.", Preliminary: preliminary}, t)
}
