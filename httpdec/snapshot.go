package httpdec

import (
	"errors"
	"slices"

	"clipper/bus"
	"clipper/httpdec/internal/coding"
	"clipper/httpdec/internal/snapshot"
	"clipper/httpdec/internal/websocket"
)

// snapshotVersion changes with what a snapshot holds.
const snapshotVersion = 2

// Limits of what a snapshot may hold beyond those of the decoder.
const (
	maxConns = 1 << 20
	maxHold  = 1 << 20 // bytes of a piece of input that waits
	maxText  = 1 << 20
)

// AppendSnapshot implements bus.Snapshotter.
func (s *stage) AppendSnapshot(b []byte) []byte {
	w := snapshot.Append(append(b, snapshotVersion))
	var conns []*conn
	for c := s.first; c != nil; c = c.next {
		conns = append(conns, c)
	}
	snapshot.List(w, &conns, maxConns, func(c **conn) { (*c).snapshot(w) })
	return w.Written()
}

// Restore implements bus.Snapshotter.
func (s *stage) Restore(b []byte, pos uint64) error {
	if len(b) == 0 || b[0] != snapshotVersion {
		return errors.New("httpdec: a snapshot of another version")
	}
	r := snapshot.Read(b[1:])
	var conns []*conn
	snapshot.List(r, &conns, maxConns, func(c **conn) {
		*c = newConn(s, 0, bus.ConnOpen{}, 0)
		(*c).snapshot(r)
	})
	for _, c := range conns {
		r.Check(s.conns[c.id] == nil)
		c.mark = s.low.Add(pos)
		s.add(c)
	}
	return r.Done()
}

func (c *conn) snapshot(s *snapshot.State) {
	snapshot.Int(s, &c.id)
	s.JSON(&c.facts)
	s.Bool(&c.announced)
	s.Bool(&c.changed)
	s.Bool(&c.seen)
	snapshot.Int(s, &c.time)
	s.JSON(&c.verdict)
	s.JSON(&c.alert)
	snapshot.Bytes(s, &c.unreach, maxText)
	c.det.snapshot(s)
	snapshot.Bytes(s, &c.tunnel, maxText)
	snapshot.Int(s, &c.switches)
	for dir := range c.held {
		snapshot.List(s, &c.held[dir], 1<<20, func(h *heldItem) {
			h.snapshot(s)
			if s.Reading() {
				c.heldBytes[dir] += len(h.b)
			}
		})
		s.Bool(&c.closed[dir])
	}
	lossesSnapshot(s, &c.losses)
	snapshot.Int(s, &c.reset)
	snapshot.Int(s, &c.closer)
	s.Check(c.reset >= -1 && c.reset <= 1 && c.closer >= -1 && c.closer <= 1)
	s.Bool(&c.notDNS)
	datagrams := c.datagrams != nil
	if s.Bool(&datagrams); datagrams {
		if s.Reading() {
			c.datagrams = newDNS(c, "udp")
		}
		c.datagrams.snapshot(s)
	}
	c.protocolSnapshot(s)
}

func (h *heldItem) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &h.b, maxHold)
	snapshot.Int(s, &h.gap)
	s.Bool(&h.fin)
	snapshot.Int(s, &h.time)
}

// The protocols in a snapshot.
const (
	protoNone uint8 = iota
	protoHTTP1
	protoHTTP2
	protoUpgraded
	protoSOCKS
	protoDNS
	protoHTTP3
)

func (c *conn) protocolSnapshot(s *snapshot.State) {
	kind := protoNone
	switch c.proto.(type) {
	case *http1Conn:
		kind = protoHTTP1
	case *http2Conn:
		kind = protoHTTP2
	case *upgraded:
		kind = protoUpgraded
	case *socks:
		kind = protoSOCKS
	case *dnsStream:
		kind = protoDNS
	case *http3Conn:
		kind = protoHTTP3
	}
	snapshot.Int(s, &kind)
	if s.Damaged() {
		return
	}
	if s.Reading() {
		switch kind {
		case protoNone:
		case protoHTTP1:
			c.proto = newHTTP1(c)
		case protoHTTP2:
			c.proto = newHTTP2(c)
		case protoUpgraded:
			c.proto = &upgraded{c: c, x: &exchange1{}}
		case protoSOCKS:
			c.proto = newSocks(c, 5)
		case protoDNS:
			c.proto = &dnsStream{dns: newDNS(c, "")}
		case protoHTTP3:
			s.Check(c.facts.TLS != nil)
			c.proto = newHTTP3(c)
		default:
			s.Check(false)
		}
	}
	if p, ok := c.proto.(interface{ snapshot(*snapshot.State) }); ok {
		p.snapshot(s)
	}
}

func (d *detection) snapshot(s *snapshot.State) {
	for dir := range d.prefix {
		snapshot.Bytes(s, &d.prefix[dir], prefixLen)
		s.Bool(&d.lost[dir])
	}
	snapshot.List(s, &d.items, 1<<20, func(it *earlyItem) {
		snapshot.Index(s, &it.dir, 1)
		snapshot.Bytes(s, &it.b, maxHold)
		snapshot.Int(s, &it.time)
	})
	snapshot.Int(s, &d.bytes)
	s.Bool(&d.other)
}

func (h *http1Conn) snapshot(s *snapshot.State) {
	snapshot.Int(s, &h.count)
	snapshot.Int(s, &h.answered)
	snapshot.List(s, &h.waiting, MaxPipelined+1, func(x **exchange1) {
		if s.Reading() {
			*x = &exchange1{}
		}
		(*x).snapshot(s, h.c)
	})
	h.readerSnapshot(s, &h.req)
	h.readerSnapshot(s, &h.resp)
}

func (h *http1Conn) readerSnapshot(s *snapshot.State, m *messageReader) {
	snapshot.Index(s, &m.state, int(readDead))
	snapshot.Bytes(s, &m.head, MaxHead+1)
	snapshot.Index(s, &m.resume, MaxHead)
	s.Bool(&m.lineSeen)
	snapshot.Int(s, &m.start)
	snapshot.Int(s, &m.left)
	m.chunked.Snapshot(s)
	// Its exchange: one that waits, or one that has its response already.
	const none, apart = 0, 1
	at := none
	if m.x != nil {
		at = apart
		for i, x := range h.waiting {
			if x == m.x {
				at = 2 + i
			}
		}
	}
	snapshot.Index(s, &at, 1+len(h.waiting))
	switch {
	case at == apart:
		if s.Reading() {
			m.x = &exchange1{}
		}
		m.x.snapshot(s, h.c)
	case at > apart && s.Reading():
		m.x = h.waiting[at-2]
	}
	content := m.state == readLength || m.state == readChunked || m.state == readToClose
	s.Check((m.x != nil) == content && (m.state != readLength || m.left > 0))
}

func (x *exchange1) snapshot(s *snapshot.State, c *conn) {
	snapshot.Int(s, &x.stream)
	x.origin.snapshot(s)
	snapshot.Bytes(s, &x.method, maxText)
	snapshot.Bytes(s, &x.version, maxText)
	s.Bool(&x.upgrade)
	s.Bool(&x.reqDone)
	held := x.reqEnd != nil
	if s.Bool(&held); held {
		if s.Reading() {
			x.reqEnd = &requestEnd{}
		}
		snapshot.Int(s, &x.reqEnd.time)
		fieldsSnapshot(s, &x.reqEnd.trailers)
	}
	s.Bool(&x.respHead)
	s.Bool(&x.respDone)
	s.Bool(&x.failed)
	s.Bool(&x.headless)
	x.reqBody.snapshot(s, c)
	x.respBody.snapshot(s, c)
}

func (o *origin) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &o.target, maxText)
	snapshot.Int(s, &o.began)
	lossesSnapshot(s, &o.losses)
}

func lossesSnapshot(s *snapshot.State, l *bus.Losses) {
	snapshot.Int(s, &l.Resent)
	snapshot.Int(s, &l.Lost)
}

// snapshot visits a body between two records: all its data is announced.
func (b *body) snapshot(s *snapshot.State, c *conn) {
	started := b.c != nil
	if s.Bool(&started); started && s.Reading() {
		b.c = c
	}
	snapshot.Int(s, &b.stream)
	snapshot.Index(s, &b.dir, 1)
	snapshot.Int(s, &b.wire)
	snapshot.Int(s, &b.decoded)
	snapshot.Bytes(s, &b.problem, maxText)
	snapshot.Int(s, &b.time)
	s.Bool(&b.ended)
	if !started || b.ended {
		return
	}
	snapshot.Int(s, &b.length)
	b.origin.snapshot(s)
	s.JSON(&b.kind)
	s.Bool(&b.doubtful)
	s.Bool(&b.stopped)
	snapshot.Bytes(s, &b.lead, maxLead)
	s.Bool(&b.leadPast)
	snapshot.Index(s, &b.window, MaxWindows)
	coding.Snapshot(s, &b.dec)
	if s.Check(b.window == 0 || b.dec != nil); s.Reading() {
		c.windows += b.window
	}
	b.contentSnapshot(s)
}

// The kinds of content that is split.
const (
	contentNone uint8 = iota
	contentEvents
	contentEnvelopes
	contentWhole
	contentMultipart
)

func (b *body) contentSnapshot(s *snapshot.State) {
	kind := contentNone
	switch b.content.(type) {
	case *eventStream:
		kind = contentEvents
	case *envelopes:
		kind = contentEnvelopes
	case *wholeContent:
		kind = contentWhole
	case *multipart:
		kind = contentMultipart
	}
	snapshot.Int(s, &kind)
	if s.Reading() {
		switch kind {
		case contentNone:
		case contentEvents:
			b.content = &eventStream{c: b.c, stream: b.stream}
		case contentEnvelopes:
			b.content = &envelopes{body: b}
		case contentWhole:
			b.content = &wholeContent{body: b}
		case contentMultipart:
			b.content = &multipart{}
		default:
			s.Check(false)
		}
	}
	if b.content != nil {
		b.content.snapshot(s)
	}
}

func (e *eventStream) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &e.line, MaxMessage+16)
	s.Bool(&e.cut)
	s.Bool(&e.wasCR)
	s.Bool(&e.begun)
	snapshot.Bytes(s, &e.event, maxText)
	snapshot.Bytes(s, &e.id, maxText)
	snapshot.Bytes(s, &e.data, MaxMessage)
	s.Bool(&e.any)
	snapshot.Int(s, &e.size)
}

func (e *envelopes) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &e.kind, 64)
	snapshot.Bytes(s, &e.encoding, maxText)
	s.Bool(&e.proto)
	s.Bool(&e.text)
	snapshot.Bytes(s, &e.quad, 3)
	snapshot.Bytes(s, &e.head, 4)
	snapshot.Int(s, &e.flags)
	snapshot.Int(s, &e.left)
	s.Bool(&e.inside)
	snapshot.Int(s, &e.size)
	snapshot.Bytes(s, &e.data, MaxMessage)
}

func (h *http2Conn) snapshot(s *snapshot.State) {
	snapshot.Int(s, &h.first)
	snapshot.Int(s, &h.highest)
	s.JSON(&h.goaway)
	h.multiplexed.snapshot(s)
	for i := range h.sides {
		h.sides[i].snapshot(s)
	}
}

func (h *multiplexed) snapshot(s *snapshot.State) {
	streams := h.open()
	snapshot.List(s, &streams, MaxStreams, func(x **stream2) {
		if s.Reading() {
			*x = &stream2{}
		}
		(*x).snapshot(s, h.c)
	})
	if s.Reading() {
		for _, x := range streams {
			s.Check(h.streams[x.id] == nil)
			h.streams[x.id] = x
		}
	}
}

func (h *http3Conn) snapshot(s *snapshot.State) {
	h.multiplexed.snapshot(s)
	for d := range h.dec {
		h.dec[d].Snapshot(s)
	}
	ids := h.ids()
	snapshot.List(s, &ids, maxHalves3, func(id *halfID) {
		snapshot.Int(s, &id.stream)
		snapshot.Index(s, &id.dir, 1)
		if s.Reading() {
			s.Check(h.halves[*id] == nil)
			h.halves[*id] = &half3{}
		}
		h.halves[*id].snapshot(s)
		if s.Reading() {
			h.blocked += h.halves[*id].waits()
		}
	})
}

func (x *half3) snapshot(s *snapshot.State) {
	snapshot.Index(s, &x.kind, int(halfIgnored))
	snapshot.Bytes(s, &x.head, 16)
	s.Bool(&x.inside)
	snapshot.Int(s, &x.typ)
	snapshot.Int(s, &x.left)
	snapshot.Int(s, &x.start)
	if !x.inside && !x.blocked {
		x.payload = nil
	}
	snapshot.Bytes(s, &x.payload, maxControlFrame)
	s.Bool(&x.lost)
	s.Bool(&x.blocked)
	snapshot.List(s, &x.later, 1<<20, func(h *heldItem) { h.snapshot(s) })
	s.Bool(&x.headed)
	fieldsSnapshot(s, &x.trailers)
	s.Check((!x.inside || x.left > 0) && (!x.inside || !x.keeps() || uint64(len(x.payload))+x.left <= maxControlFrame) && (x.blocked || len(x.later) == 0))
}

func (x *http2Side) snapshot(s *snapshot.State) {
	snapshot.Int(s, &x.preface)
	s.Check(x.preface >= -1 && x.preface <= len(clientPreface))
	header := x.header[:]
	snapshot.Bytes(s, &header, frameHeaderLen)
	s.Check(len(header) == frameHeaderLen)
	if s.Damaged() {
		return
	}
	copy(x.header[:], header)
	x.frame = parseFrameHeader(x.header[:])
	snapshot.Index(s, &x.have, frameHeaderLen)
	snapshot.Int(s, &x.start)
	snapshot.Bytes(s, &x.payload, maxControlFrame)
	snapshot.Int(s, &x.left)
	snapshot.Int(s, &x.padding)
	s.Bool(&x.padLen)
	snapshot.Int(s, &x.skip)
	s.Bool(&x.search)
	snapshot.Bytes(s, &x.found, maxHold)
	s.Bool(&x.lost)
	x.dec.Snapshot(s)
	s.Check(x.padding <= x.left && (x.have < frameHeaderLen || len(x.payload) < int(x.frame.Length) || x.frame.Length == 0))
	b := &x.block
	s.Bool(&b.open)
	snapshot.Int(s, &b.stream)
	snapshot.Int(s, &b.promised)
	s.Bool(&b.end)
	snapshot.Int(s, &b.start)
	snapshot.Int(s, &b.wire)
	fieldsSnapshot(s, &b.fields)
	snapshot.Int(s, &b.size)
	s.Bool(&b.cut)
}

func fieldsSnapshot(s *snapshot.State, fields *[]bus.Field) {
	snapshot.List(s, fields, MaxHead, func(f *bus.Field) {
		snapshot.Bytes(s, &f.Name, MaxHead)
		snapshot.Bytes(s, &f.Value, MaxHead)
	})
}

func (x *stream2) snapshot(s *snapshot.State, c *conn) {
	snapshot.Int(s, &x.id)
	snapshot.Int(s, &x.stream)
	x.origin.snapshot(s)
	snapshot.Bytes(s, &x.method, maxText)
	snapshot.Bytes(s, &x.protocol, maxText)
	s.Bool(&x.reqDone)
	s.Bool(&x.respHead)
	s.Bool(&x.respDone)
	s.Bool(&x.failed)
	s.Bool(&x.doubted[0])
	s.Bool(&x.doubted[1])
	x.reqBody.snapshot(s, c)
	x.respBody.snapshot(s, c)
	webSocketSnapshot(s, &x.ws, c, x.stream)
}

func webSocketSnapshot(s *snapshot.State, w **webSocket, c *conn, stream uint64) {
	any := *w != nil
	if s.Bool(&any); !any {
		return
	}
	if s.Reading() {
		*w = &webSocket{c: c, stream: stream}
	}
	for dir := range (*w).sides {
		(*w).sides[dir].snapshot(s)
		s.Bool(&(*w).closed[dir])
	}
}

func (x *webSocketSide) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &x.head, websocket.MaxHeader-1)
	s.JSON(&x.frame)
	snapshot.Int(s, &x.offset)
	s.Bool(&x.inside)
	s.Bool(&x.lost)
	s.Check(!x.inside || x.offset < x.frame.Length)
	for _, m := range []*message{&x.message, &x.control} {
		s.Bool(&m.open)
		snapshot.Int(s, &m.opcode)
		s.Bool(&m.masked)
		s.Bool(&m.compressed)
		snapshot.Int(s, &m.size)
		snapshot.Bytes(s, &m.data, MaxMessage)
		snapshot.Bytes(s, &m.problem, maxText)
	}
	any := x.deflate != nil
	if s.Bool(&any); any {
		if s.Reading() {
			x.deflate = coding.NewMessages(false)
		}
		x.deflate.Snapshot(s)
	}
	s.Check(!x.control.compressed && (any || !x.message.compressed || x.message.problem != ""))
}

func (u *upgraded) snapshot(s *snapshot.State) {
	u.x.snapshot(s, u.c)
	webSocketSnapshot(s, &u.ws, u.c, u.x.stream)
	s.Bool(&u.closed[0])
	s.Bool(&u.closed[1])
	s.Bool(&u.failed)
	s.Check(u.x.reqBody.c != nil && u.x.respBody.c != nil)
}

func (x *socks) snapshot(s *snapshot.State) {
	snapshot.Index(s, &x.step, int(socksFailed))
	snapshot.Bytes(s, &x.buf, maxSocksMessage)
	snapshot.Bytes(s, &x.target, maxText)
}

func (d *dnsStream) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &d.transport, 64)
	d.dns.snapshot(s)
	for dir := range d.sides {
		snapshot.Bytes(s, &d.sides[dir], 1<<16+1)
		s.Bool(&d.lost[dir])
	}
}

var _ bus.Snapshotter = (*stage)(nil)

func (d *dns) snapshot(s *snapshot.State) {
	s.JSON(&d.open)
	s.Check(!slices.Contains(d.open, nil))
	snapshot.List(s, &d.ids, maxQuestions, func(v *uint16) { snapshot.Int(s, v) })
	s.Check(len(d.ids) == len(d.open))
	snapshot.List(s, &d.names, maxQuestions, func(n *lookedUp) {
		snapshot.Bytes(s, &n.name, 1024)
		snapshot.Int(s, &n.pending)
		s.Bool(&n.v4)
		s.Bool(&n.v6)
		s.Bool(&n.found)
		snapshot.Bytes(s, &n.failure, 4096)
		s.Bool(&n.told)
	})
}
