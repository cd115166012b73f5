package tlsdec

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"

	"clipper/bus"
)

// snapshotFormat changes with the structures below.
const snapshotFormat = "tlsdec 4"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendSnapshot implements bus.Snapshotter.
func (d *decoder) AppendSnapshot(b []byte) []byte {
	start := len(b)
	x := &codec{b: append(b, snapshotFormat...)}
	d.code(x, 0)
	return binary.LittleEndian.AppendUint32(x.b, crc32.Checksum(x.b[start:], castagnoli))
}

// Restore implements bus.Snapshotter. The secrets that the stage had at the
// snapshot may be given to it before or after.
func (d *decoder) Restore(b []byte, pos uint64) error {
	n := len(b) - crc32.Size
	if n < len(snapshotFormat) || string(b[:len(snapshotFormat)]) != snapshotFormat ||
		binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return errSnapshot
	}
	x := &codec{b: b[len(snapshotFormat):n], restoring: true}
	if d.code(x, pos); x.failed || len(x.b) > 0 {
		return errSnapshot
	}
	return nil
}

func (d *decoder) code(x *codec, pos uint64) {
	x.uint64(&d.opened)
	for _, l := range []bus.Layer{bus.TCP, bus.UDP} {
		if x.present(d.ended[l]) {
			d.ended[l] = true
		}
	}
	for c := d.order.first; !x.restoring && c != nil; c = c.next {
		x.present(true)
		c.code(x)
	}
	if !x.restoring {
		x.present(false)
		return
	}
	for x.present(false) {
		c := &conn{d: d}
		if c.code(x); x.failed || d.conns[c.id] != nil {
			x.fail()
			return
		}
		d.weigh(c)
		c.mark = d.low.Add(pos)
		d.conns[c.id] = c
		d.order.push(c)
	}
}

func (c *conn) code(x *codec) {
	number(x, &c.id)
	x.json(&c.open)
	x.uint64(&c.number)
	if number(x, &c.depth); c.depth < 0 || c.depth >= maxDepth {
		x.fail()
		return
	}
	octets(x, &c.verdict)
	x.bool(&c.preliminary)
	pointer(x, &c.unread, func(v *bus.Verdict, x *codec) { x.json(v) })
	number(x, &c.unreadAt)
	x.bool(&c.udp)
	x.bool(&c.decided)
	x.bool(&c.stopped)
	number(x, &c.stoppedAt)
	number(x, &c.wants)
	number(x, &c.at)
	x.uint64(&c.steps)
	x.bool(&c.warned)
	x.bool(&c.final)
	x.bool(&c.peerless)
	x.bool(&c.over)
	list(x, &c.queue, codeHeld)
	c.place.code(x)
	c.spilled.code(x)
	c.reading.code(x)
	pointer(x, &c.tls, (*session).code)
	pointer(x, &c.quic, (*quicFlow).code)
	for i := range c.half {
		h := &c.half[i]
		h.dir = bus.Dir(i)
		c.codeHalf(x, h)
	}
	if x.restoring {
		if !c.valid() {
			x.fail()
			return
		}
		c.held = c.count()
		c.d.held += c.held
		if c.stopped {
			c.d.waiting.enter(c, c.tls.keys(), c.tls.anyKey())
		}
	}
	if x.present(c.inner != nil) {
		if x.restoring {
			c.inner = &conn{d: c.d}
		}
		if c.inner.code(x); c.inner.id != c.id || c.inner.depth != c.depth+1 {
			x.fail()
		}
	}
}

// count is what is held back, summed up.
func (c *conn) count() (n int) {
	for _, list := range [][]heldRecord{c.queue, c.half[0].undecided, c.half[0].later, c.half[1].undecided, c.half[1].later} {
		for i := range list {
			n += list[i].cost
		}
	}
	if c.tls != nil {
		for i := range c.tls.early {
			n += c.tls.early[i].cost()
		}
	}
	if c.stopped {
		n += connectionCost
	}
	if q := c.quic; q != nil {
		n += q.waits + q.streams.pending + q.streams.segments*bus.RecordLen
	}
	return n
}

// valid reports whether a restored connection holds what the rest relies on.
func (c *conn) valid() bool {
	if c.stopped && (c.tls == nil || c.tls.hello == nil) || c.quic != nil && c.tls == nil ||
		c.tls != nil && c.tls.server != nil && c.tls.hello == nil {
		return false
	}
	for i := range c.half {
		h := &c.half[i]
		if h.mode > modeOpaque || h.epoch > epochMaster || h.mode == modeTLS && c.tls == nil ||
			h.epoch != epochPlain && (c.tls == nil || c.tls.hello == nil) || h.epoch == epochMaster && (h.params.suite == nil || c.tls.server == nil) ||
			h.prot != nil && h.epoch == epochPlain {
			return false
		}
	}
	return true
}

func codeRecord(r *bus.Record, x *codec) {
	number(x, &r.Layer)
	number(x, &r.Type)
	number(x, &r.Dir)
	number(x, &r.Flags)
	number(x, &r.Conn)
	x.uint64(&r.Offset)
	number(x, &r.Time)
	x.uint64(&r.Stream)
	number(x, &r.Aux)
	octets(x, &r.Payload)
	x.uint64(&r.Pos)
	if r.Dir > 1 {
		x.fail()
	}
}

func codeHeld(x *codec, k *heldRecord) {
	codeRecord(&k.Record, x)
	k.place.code(x)
	number(x, &k.cost)
	if x.restoring && (k.cost < 0 || k.cost > bus.MaxBatch) {
		x.fail()
	}
}

func (p *place) code(x *codec) {
	x.uint64(&p.message)
	number(x, &p.nth)
}

func (s *spill) code(x *codec) {
	s.first.code(x)
	if number(x, &s.records); s.records < 0 {
		x.fail()
	}
	pointer(x, &s.end, codeRecord)
}

func (c *conn) codeHalf(x *codec, h *half) {
	number(x, &h.mode)
	x.uint64(&h.out)
	x.bool(&h.closed)
	list(x, &h.undecided, codeHeld)
	list(x, &h.later, codeHeld)
	x.bool(&h.waits)
	if x.present(h.partial != nil) {
		octets(x, &h.partial)
		if x.restoring {
			h.partial = append(c.d.buffer(), h.partial...)
		}
	}
	number(x, &h.begun)
	x.bool(&h.v2)
	number(x, &h.epoch)
	octets(x, &h.secret)
	codeSuite(x, &h.suite)
	h.params.code(x)
	octets(x, &h.messages)
	number(x, &h.skip)
	x.bool(&h.finished)
	h.loss.code(x)
	if x.present(h.prot != nil) {
		if x.restoring {
			if h.prot = c.protection(h); h.prot == nil {
				x.fail()
				return
			}
		}
		h.prot.code(x)
	}
}

// protection makes the protection of h's epoch anew.
func (c *conn) protection(h *half) protection {
	if h.epoch != epochMaster {
		return newProtection13(h.suite, h.secret)
	}
	if h.params.suite == nil {
		return nil
	}
	return c.protection12(h, h.secret)
}

func codeSuite(x *codec, s **suite) {
	id := uint16(0)
	if !x.present(*s != nil) {
		return
	}
	if !x.restoring {
		id = (*s).id
	}
	number(x, &id)
	if x.restoring {
		if *s = newSuite(id); *s == nil {
			x.fail()
		}
	}
}

func (p *parameters) code(x *codec) {
	number(x, &p.version)
	codeSuite(x, &p.suite)
	x.array(p.clientRandom[:])
	x.array(p.serverRandom[:])
	x.bool(&p.encryptThenMAC)
	number(x, &p.compression)
}

func (l *loss) code(x *codec) {
	x.bool(&l.any)
	x.bool(&l.holed)
	x.bool(&l.blind)
	x.bool(&l.seeking)
	number(x, &l.trials)
	number(x, &l.wire)
	octets(x, &l.window)
	number(x, &l.unnumbered)
}

func (p *aeadProtection) code(x *codec) { x.uint64(&p.seq) }

func (p *macProtection) code(x *codec) {
	x.uint64(&p.seq)
	if p.stream != nil {
		x.array(p.stream.S[:])
		number(x, &p.stream.I)
		number(x, &p.stream.J)
	}
	if octets(x, &p.chain); x.restoring && len(p.chain) > 0 {
		if p.cbc == nil || len(p.chain) != p.blockLen {
			x.fail()
			return
		}
		p.setIV(p.chain)
	}
}

func (p *compressed) code(x *codec) {
	p.protection.code(x)
	x.bool(&p.begun)
	octets(x, &p.window)
}

func (s *session) code(x *codec) {
	x.json(&s.info)
	x.bool(&s.dirty)
	x.bool(&s.late)
	pointer(x, &s.hello, (*clientHello).code)
	pointer(x, &s.server, (*serverHello).code)
	x.bool(&s.retried)
	number(x, &s.version)
	x.bool(&s.tls13)
	codeSuite(x, &s.suite)
	octets(x, &s.random)
	octets(x, &s.premasterID)
	octets(x, &s.transcript)
	x.bool(&s.exchanged)
	x.bool(&s.helloDone)
	octets(x, &s.master)
	list(x, &s.early, func(x *codec, e *earlyData) {
		octets(x, &e.plain)
		number(x, &e.missing)
		number(x, &e.time)
	})
	x.bool(&s.earlyOver)
	x.bool(&s.data)
	x.bool(&s.failed)
}

func (h *clientHello) code(x *codec) {
	number(x, &h.version)
	x.array(h.random[:])
	octets(x, &h.sessionID)
	for _, l := range []*[]uint16{&h.suites, &h.extensions, &h.groups, &h.signatures, &h.versions} {
		list(x, l, number[uint16])
	}
	octets(x, &h.serverName)
	list(x, &h.alpn, octets[string])
	octets(x, &h.pointFormats)
	x.bool(&h.earlyData)
	x.bool(&h.ech)
	x.bool(&h.hasServerName)
}

func (h *serverHello) code(x *codec) {
	number(x, &h.version)
	x.array(h.random[:])
	octets(x, &h.sessionID)
	number(x, &h.suite)
	number(x, &h.compression)
	number(x, &h.group)
	octets(x, &h.alpn)
	x.bool(&h.retry)
	x.bool(&h.preSharedKey)
	x.bool(&h.encryptThenMAC)
	x.bool(&h.extendedMaster)
}

func (q *quicFlow) code(x *codec) {
	number(x, &q.version)
	if x.present(q.initial[0] != nil) {
		octets(x, &q.destination)
		if x.restoring {
			q.derive(q.destination)
		}
	}
	x.uint64(&q.count)
	x.bool(&q.closed)
	for i := range q.sides {
		q.sides[i].code(x, q.version)
	}
	list(x, &q.waiting, func(x *codec, p *quicPacket) {
		number(x, &p.dir)
		octets(x, &p.b)
		number(x, &p.time)
		if x.restoring {
			h, err := parseQUICLongHeader(p.b)
			if len(p.b) == 0 || p.b[0]&0x80 != 0 && (err != nil || h.end != len(p.b)) || p.dir > 1 {
				x.fail()
				p.b = []byte{0}
			}
			q.waits += len(p.b) + bus.RecordLen
		}
	})
	q.streams.code(x)
	if x.restoring && (q.initial[0] == nil) != (q.initial[1] == nil) {
		x.fail()
	}
}

func (s *quicSide) code(x *codec, version uint32) {
	list(x, &s.ids, func(x *codec, id *string) {
		if octets(x, id); len(*id) > maxConnectionID {
			x.fail()
			*id = ""
		}
	})
	x.bool(&s.foreign)
	for _, k := range []**quicKeys{&s.keys[epochEarly], &s.keys[epochHandshake], &s.keys[epochTraffic], &s.before} {
		pointer(x, k, func(k *quicKeys, x *codec) {
			codeSuite(x, &k.suite)
			octets(x, &k.secret)
			octets(x, &k.hpSecret)
			if x.restoring {
				made := newQUICKeys(version, k.suite, k.secret, k.hpSecret)
				if made == nil {
					x.fail()
					return
				}
				*k = *made
			}
		})
	}
	x.bool(&s.phase)
	for i := range s.largest {
		x.uint64(&s.largest[i])
	}
	for i := range s.crypto {
		s.crypto[i].code(x)
	}
}

func (q *quicCrypto) code(x *codec) {
	octets(x, &q.data)
	list(x, &q.holes, func(x *codec, h *hole) {
		number(x, &h.from)
		number(x, &h.to)
		if x.restoring && (h.from < 0 || h.from >= h.to || h.to > len(q.data)) {
			x.fail()
			*h = hole{}
		}
	})
	x.bool(&q.over)
	if number(x, &q.given); q.given < 0 || q.given > len(q.data) || len(q.data) > maxQUICCrypto {
		x.fail()
		*q = quicCrypto{}
	}
}

func (q *quicStreams) code(x *codec) {
	for i := range q.closed {
		x.uint64(&q.closed[i].below)
		list(x, &q.closed[i].more, func(x *codec, n *uint64) { x.uint64(n) })
		if x.restoring && !slices.IsSorted(q.closed[i].more) {
			x.fail()
		}
	}
	ids := slices.Sorted(maps.Keys(q.open))
	list(x, &ids, func(x *codec, id *uint64) {
		x.uint64(id)
		if x.restoring {
			if q.open == nil {
				q.open = map[uint64]*quicStream{}
			}
			if q.open[*id] != nil {
				x.fail()
			}
			q.open[*id] = new(quicStream)
		}
		for i := range q.open[*id].halves {
			q.codeHalf(x, &q.open[*id].halves[i])
		}
	})
}

func (q *quicStreams) codeHalf(x *codec, h *quicHalf) {
	x.uint64(&h.next)
	x.bool(&h.sized)
	x.uint64(&h.size)
	x.bool(&h.ended)
	at := h.next
	list(x, &h.segments, func(x *codec, s *quicSegment) {
		x.uint64(&s.offset)
		octets(x, &s.data)
		number(x, &s.time)
		if !x.restoring {
			return
		}
		if s.offset < at || len(s.data) == 0 || s.offset >= 1<<62 {
			x.fail()
		}
		at = s.offset + uint64(len(s.data))
		q.pending += len(s.data)
		q.segments++
	})
}
