package tlsdec

import (
	"encoding/json"

	"clipper/bus"
)

// status is the outcome of working on a record.
type status uint8

const (
	done       status = iota
	needSecret        // the connection stops here until a secret comes
	needPeer          // the direction stops here until the other one is further
)

// conn is one connection. Its input is worked on strictly in order; at a record
// that needs a secret which has not come it stops, and all that follows
// is held back behind it. So its output is a function of its own input and of
// the secrets, whenever they come.
type conn struct {
	d          *decoder
	id         bus.ConnID
	open       bus.ConnOpen
	number     uint64 // counts connections
	mark       *bus.Mark
	prev, next *conn // in decoder.order
	depth      int   // 1: it is the inner of another
	inner      *conn // takes the plaintext, as TLS was found in it
	over       bool  // its End was given

	half        [2]half
	tls         *session // nil: no ClientHello yet
	verdict     bus.VerdictCode
	preliminary bool         // verdict is
	unread      *bus.Verdict // of what could not be read, until it is known that no alert explains it
	unreadAt    int64
	udp         bool
	quic        *quicFlow // nil: not QUIC
	decided     bool      // whether a UDP flow is QUIC

	queue     []heldRecord // input behind the point where it stopped
	held      int          // what is held back counts for in Limits
	partly    int          // the same for what is incomplete, that of inner included
	stopped   bool         // at a record that needs a secret
	stoppedAt int64
	wants     label   // of the secret that was looked for last
	at        int64   // time of the record being worked on
	steps     uint64  // counts TLS records that were worked on
	warned    bool    // warnAfter is over, and the preliminary verdict was given
	waiter    *waiter // in the waiting room, while stopped
	fresh     *entry  // the secret that has just come, during retry
	final     bool    // no more secrets: what is not readable now never is
	place     place   // of the last record
	spilled   spill   // input behind queue that was left in the log
	reading   spill   // what of it is being read again
	peerless  bool    // no more of the other direction
}

// heldRecord is a copy of an input record. Its payload shrinks as it is worked on.
type heldRecord struct {
	bus.Record
	cost  int
	place place
}

func newConn(d *decoder, r *bus.Record) *conn {
	c := &conn{d: d, id: r.Conn, final: d.ended[bus.Keys], udp: r.Layer == bus.UDP}
	_ = json.Unmarshal(r.Payload, &c.open) // what is missing counts as unknown
	c.half[1].dir = bus.ServerToClient
	return c
}

// process takes the next record of the connection.
func (c *conn) process(r *bus.Record) {
	if c.stopped {
		c.keep(r)
		c.warn(r)
		return
	}
	in := &c.d.work[c.depth].in
	*in = *r
	st, consumed := c.step(in)
	if !consumed {
		c.hold(&c.queue, in)
	}
	if st == needSecret {
		c.stop()
		c.warn(r)
	}
}

// step works on one record. If it is not consumed, r is what is left of it.
func (c *conn) step(r *bus.Record) (st status, consumed bool) {
	if c.quic != nil {
		return c.quicRecord(r)
	}
	switch r.Type {
	case bus.Data, bus.Gap, bus.Fin:
		h := &c.half[r.Dir&1]
		if len(h.later) > 0 {
			c.hold(&h.later, r)
			return done, true
		}
		switch c.direction(h, r) {
		case needSecret:
			return needSecret, false
		case needPeer:
			h.waits = true
			c.hold(&h.later, r)
		}
		return c.resume(), true
	case bus.Reset:
		if c.tls == nil { // else an answer may still be on its way
			c.flushUndecided()
		}
	case bus.End:
		c.alone()
		if c.resume() == needSecret {
			return needSecret, false
		}
		c.end(r)
		return done, true
	}
	c.forward(r)
	return done, true
}

// direction works on a record of one direction.
func (c *conn) direction(h *half, r *bus.Record) status {
	c.at = r.Time
	switch r.Type {
	case bus.Gap:
		return c.gap(h, r)
	case bus.Fin:
		c.fin(h, r)
		return done
	}
	if h.mode == modeClear {
		if st := c.clear(h, r); st != done {
			return st
		}
	}
	if h.mode == modeTLS {
		return c.feed(h, r)
	}
	return done
}

// resume goes on with directions that waited for the other one.
func (c *conn) resume() status {
	for again := true; again; {
		again = false
		for i := range c.half {
			h := &c.half[i]
			for len(h.later) > 0 && !h.waits {
				st := c.direction(h, &h.later[0].Record)
				if st == needSecret {
					return st
				}
				if h.waits = st == needPeer; !h.waits {
					c.unhold(&h.later)
					again = true
				}
			}
		}
	}
	return done
}

// advanced lets directions that wait for the other one try again.
func (c *conn) advanced() { c.half[0].waits, c.half[1].waits = false, false }

// alone says that nothing more of the other direction is to be waited for.
func (c *conn) alone() {
	c.peerless = true
	c.advanced()
}

// stop begins to wait for a secret.
func (c *conn) stop() {
	c.stopped, c.stoppedAt, c.warned = true, c.at, false
	c.addHeld(connectionCost)
	c.d.waiting.enter(c, c.tls.keys(), c.tls.anyKey())
}

// leaveStop undoes stop.
func (c *conn) leaveStop() {
	c.stopped = false
	c.addHeld(-connectionCost)
	c.d.waiting.leave(c)
}

// endOfSecrets goes on without what has not come.
func (c *conn) endOfSecrets() {
	c.final = true
	if c.inner != nil {
		defer c.inner.endOfSecrets()
	}
	if c.stopped {
		c.run()
	}
}

// holds is what the connection and its inner one hold back.
func (c *conn) holds() int {
	if c.inner != nil {
		return c.held + c.inner.held
	}
	return c.held
}

// retry works on, as a secret of e has come.
func (c *conn) retry(e *entry) {
	if !c.stopped {
		return
	}
	c.fresh = e
	c.run()
	c.fresh = nil
}

// giveUp stops waiting for good: what is not readable now is opaque.
func (c *conn) giveUp() {
	c.final = true
	if c.inner != nil {
		defer c.inner.giveUp()
	}
	c.alone()
	if c.stopped {
		c.run()
	} else {
		c.resume()
	}
	if c.quic != nil && !c.over {
		c.endQUIC()
	}
	for _, s := range []*spill{&c.reading, &c.spilled} {
		if s.records > 0 {
			c.lose(s)
		}
	}
	if c.tls != nil {
		c.dropEarly()
	}
}

// run works on from where the connection stopped.
func (c *conn) run() {
	steps, at := c.steps, c.stoppedAt
	st := c.resume()
	for st == done && len(c.queue) > 0 {
		var consumed bool
		st, consumed = c.step(&c.queue[0].Record)
		if consumed && len(c.queue) > 0 { // it is empty after End
			c.unhold(&c.queue)
		}
	}
	switch {
	case !c.stopped: // it has ended
	case st == done:
		c.leaveStop()
		if c.spilled.records > 0 {
			c.want()
		}
	case c.steps != steps || c.at != at:
		c.leaveStop()
		c.stop()
		if n := len(c.queue); c.spilled.end != nil {
			c.warn(c.spilled.end)
		} else if n > 0 {
			c.warn(&c.queue[n-1].Record)
		}
	}
}

// warn gives a preliminary verdict to who looks on live, when the connection has
// waited for warnAfter of its own packet time or has ended. One with the secrets of
// the data goes on then without those of the handshake.
func (c *conn) warn(r *bus.Record) {
	const warnAfter = 3e9
	if c.warned || r.Type != bus.End && r.Time-c.stoppedAt < warnAfter {
		return
	}
	c.warned = true
	if e := c.d.secrets.get(c.tls.random); c.wants == labelClientHS && e.trafficOnly(bus.ClientToServer) || c.wants == labelServerHS && e.trafficOnly(bus.ServerToClient) {
		c.run()
		return
	}
	v := c.noKeyVerdict()
	if a := c.heldAlert(); a != nil {
		v = c.refusal(a)
	}
	v.Preliminary = true
	c.opaque(v, c.stoppedAt)
}

// end closes the connection.
func (c *conn) end(r *bus.Record) {
	c.flushUndecided()
	if c.tls != nil {
		c.dropEarly()
		c.conclude(r)
	}
	c.forward(r)
	c.over = true
	c.d.remove(c)
}

// conclude says what is still to be said of a TLS connection before its End r.
func (c *conn) conclude(r *bus.Record) {
	c.flushInfo(r.Time)
	if c.unread != nil && !c.tls.failed {
		c.opaque(*c.unread, c.unreadAt)
	}
	c.unfinished(r)
}

// abandon ends a connection whose End never came.
func (c *conn) abandon(t int64) {
	payload, _ := json.Marshal(bus.ConnEnd{Reason: bus.EndCapture})
	r := &bus.Record{Type: bus.End, Conn: c.id, Time: max(t, c.at), Payload: payload}
	if c.udp {
		c.datagram(r)
		return
	}
	c.process(r)
}

// release gives back what the connection occupies in the decoder.
func (c *conn) release() {
	if c.stopped {
		c.leaveStop()
	}
	if c.quic != nil {
		c.quic.waiting, c.quic.waits, c.quic.streams = nil, 0, quicStreams{}
	}
	c.addHeld(-c.held)
	c.queue = nil
	for i := range c.half {
		c.half[i].later = nil
		c.half[i].freePartial(c.d)
	}
}

// hold keeps a copy of r at the end of list.
func (c *conn) hold(list *[]heldRecord, r *bus.Record) {
	k := heldRecord{Record: *r, cost: bus.RecordLen + len(r.Payload), place: c.place}
	k.Payload = append([]byte(nil), r.Payload...)
	*list = append(*list, k)
	c.addHeld(k.cost)
}

// unhold drops the first record of list.
func (c *conn) unhold(list *[]heldRecord) {
	c.addHeld(-(*list)[0].cost)
	(*list)[0] = heldRecord{}
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil
	}
}

func (c *conn) addHeld(n int) {
	c.held += n
	c.d.held += n
}

// forward gives r as it is.
func (c *conn) forward(r *bus.Record) { c.give(r) }

// emit gives a record about the connection.
func (c *conn) emit(typ bus.Type, payload []byte, t int64) {
	c.give(&bus.Record{Type: typ, Time: t, Payload: payload})
}

// give emits a record of the connection, or hands it to what takes its plaintext.
func (c *conn) give(r *bus.Record) {
	out := &c.d.work[c.depth].out
	*out = *r
	out.Layer, out.Conn = bus.Plain, c.plainID()
	if c.inner == nil {
		c.d.emit(out)
	} else if r.Type != bus.Info || c.inner.tls == nil { // of the facts those of the inner TLS count
		c.inner.process(out)
	}
}
