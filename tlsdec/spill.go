package tlsdec

import "clipper/bus"

// What a connection holds back while it waits for a secret is bounded. The rest stays in
// the log, if the driver can read it again when the secret comes (bus.Rereader).

// place is where a record of a connection is in the log.
type place struct {
	message uint64 // its sequence
	nth     int    // of the connection's records in the message, from 1
}

func (p place) before(q place) bool {
	return p.message < q.message || p.message == q.message && p.nth < q.nth
}

// next is the place of the connection's next record, which is in message.
func (p place) next(message uint64) place {
	if p.message == message {
		return place{message, p.nth + 1}
	}
	return place{message, 1}
}

// spill is a run of records that were left in the log.
type spill struct {
	first   place
	records int         // 0: none
	end     *bus.Record // the End, if it is the last of them
}

// Message implements bus.Rereader.
func (d *decoder) Message(l bus.Layer, seq uint64) {
	d.rereads = true
	if l == bus.TCP {
		d.message = seq
	}
}

// Again implements bus.Rereader.
func (d *decoder) Again() (l bus.Layer, seq uint64, ok bool) {
	for _, c := range d.wanting {
		if !ok || c.reading.first.message < seq {
			seq, ok = c.reading.first.message, true
		}
	}
	return bus.TCP, seq, ok
}

// Reread implements bus.Rereader.
func (d *decoder) Reread(r *bus.Record, emit func(*bus.Record)) {
	d.emit = emit
	if r.Type == bus.EOS {
		for _, c := range d.wanting {
			if c.reading.records > 0 {
				c.lose(&c.reading)
			}
		}
		d.wanting = nil
	} else if c := d.conns[r.Conn]; c != nil && c.reading.records > 0 {
		c.reread(r)
	}
	d.emit = nil
}

// keep holds r back, or leaves it in the log.
func (c *conn) keep(r *bus.Record) {
	if c.spilled.records == 0 && !(c.spills() && c.held+bus.RecordLen+len(r.Payload) > c.d.limits.Connection) {
		c.hold(&c.queue, r)
		return
	}
	c.leave(r, c.place)
}

// spills reports whether records may be left in the log.
func (c *conn) spills() bool { return c.d.rereads && c.depth == 0 && !c.udp && c.stopped }

// leave notes that r was left in the log.
func (c *conn) leave(r *bus.Record, at place) {
	s := &c.spilled
	if s.records == 0 {
		s.first = at
	}
	s.records++
	if r.Type == bus.End {
		end := *r
		end.Payload = append([]byte(nil), r.Payload...)
		s.end = &end
	}
}

// shrink leaves what is held back to the log, but for the first record: a part of it
// may have been worked on.
func (c *conn) shrink() {
	if !c.spills() || len(c.queue) < 2 {
		return
	}
	later := c.spilled
	c.spilled = spill{}
	for i := range c.queue[1:] {
		k := &c.queue[1+i]
		c.leave(&k.Record, k.place)
		c.addHeld(-k.cost)
	}
	c.queue = append([]heldRecord(nil), c.queue[0])
	c.spilled.records += later.records
	if later.end != nil {
		c.spilled.end = later.end
	}
}

// want asks for the records that were left in the log.
func (c *conn) want() {
	c.reading, c.spilled = c.spilled, spill{}
	c.place = place{}
	c.d.wanting = append(c.d.wanting, c)
}

// reread takes a record from the log.
func (c *conn) reread(r *bus.Record) {
	c.place = c.place.next(c.d.message)
	if c.place.before(c.reading.first) {
		return
	}
	if c.reading.first.nth > 0 && c.place != c.reading.first {
		c.lose(&c.reading)
		return
	}
	c.reading.first.nth = 0 // it was there
	c.reading.records--
	c.process(r)
}

// lose goes on without records that are no longer in the log.
func (c *conn) lose(s *spill) {
	end := s.end
	*s = spill{}
	for i := range c.half {
		if h := &c.half[i]; h.mode == modeTLS {
			h.mode = modeOpaque
			h.freePartial(c.d)
		}
	}
	c.flushInfo(c.at)
	c.opaque(bus.Verdict{Code: bus.VerdictDamaged, Reason: "What the TLS connection to " + c.to() + " carried before its secret came is no longer stored."}, c.at)
	c.advanced()
	if end != nil {
		c.process(end)
	}
}
