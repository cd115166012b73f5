package reassembler

import (
	"encoding/json"

	"clipper/bus"
)

// conn is a TCP connection, a UDP flow, or what is remembered of an ended
// connection (a tombstone).
type conn struct {
	// What every packet needs, in one cache line; each half has one, too.
	key       flowKey
	clientIsB bool
	firm      bool  // both SYNs seen: the long idle limit holds
	answered  bool  // Established has been emitted
	ended     bool  // it is a tombstone
	tail      bool  // of a tombstone: a connection would have begun with what came since
	last      int64 // latest packet time
	pending   *pendingSYN

	half [2]half // by sender: bus.ClientToServer, bus.ServerToClient

	id         bus.ConnID
	order      uint64 // index of the first frame
	mark       *mark
	timer      timer
	end        bus.ConnEnd // its Reason is set on a tombstone
	list       *connList
	prev, next *conn
}

// pendingSYN is a SYN on an established connection. It counts only when a
// SYN/ACK answers it or the connection ends: a live receiver refuses it
// (RFC 9293, section 3.10.7.4).
type pendingSYN struct {
	dir    bus.Dir
	seq    uint32
	window uint32
	scale  uint8
	frame  uint64
	time   int64
	mark   *mark
}

func (c *conn) dir(fromB bool) bus.Dir {
	if fromB != c.clientIsB {
		return bus.ServerToClient
	}
	return bus.ClientToServer
}

func (c *conn) udp() bool { return c.key.proto == protoUDP }

// deadline is when the next timer of c is due.
func (s *Stage) deadline(c *conn) int64 {
	limit := tailLimit
	switch {
	case c.ended:
	case c.udp():
		limit = udpIdleLimit
	case c.firm, !s.replayable && c.half[0].based && c.half[1].based:
		limit = idleLimit
	}
	d := after(c.last, limit)
	for i := range c.half {
		if h := &c.half[i]; h.gapAt != 0 {
			d = min(d, h.gapAt)
		}
	}
	return d
}

// open makes a connection whose first packet is the present one. from says
// which end is the client.
func (s *Stage) open(k *flowKey, clientIsB, partial bool, first *pendingSYN) *conn {
	for s.live.n >= maxOpen {
		s.evict()
	}
	c := s.newConn()
	at, frame := s.now, s.frame
	if first != nil {
		at, frame, c.mark = first.time, first.frame, first.mark
	} else {
		c.mark = s.here()
	}
	c.key, c.clientIsB, c.order, c.last = *k, clientIsB, frame, s.now
	c.id = connID(s.session, k, frame)
	c.timer.conn, c.timer.order = c, frame
	s.conns.put(c)
	s.recent = c
	s.young.push(c)
	s.live.n++
	s.timers.set(&c.timer, s.deadline(c))
	payload, err := json.Marshal(bus.ConnOpen{Flow: k.flow(clientIsB), Partial: partial})
	if err != nil {
		panic(err) // no value of these types fails
	}
	s.send(c, bus.Record{Type: bus.Open, Time: at, Payload: payload})
	return c
}

// close ends a connection: what waited for missing bytes comes out behind
// gaps, then the Reset record if there is one, then End. The connection stays
// as a tombstone; a flow of datagrams is forgotten.
func (s *Stage) close(c *conn, reason bus.EndReason, reset *bus.Record) {
	if !c.udp() {
		s.flush(c, bus.ClientToServer)
		s.flush(c, bus.ServerToClient)
	}
	if reset != nil {
		reset.Offset = c.half[reset.Dir].end()
		s.send(c, *reset)
	}
	c.end.Reason = reason
	payload, err := json.Marshal(c.end)
	if err != nil {
		panic(err)
	}
	s.send(c, bus.Record{Type: bus.End, Time: s.now, Payload: payload})
	c.ended = true
	c.list.remove(c)
	s.live.n--
	if c.udp() {
		s.forget(c)
		return
	}
	for s.ended.n >= maxTombstones {
		s.settle()
		s.forget(s.ended.head)
	}
	s.ended.push(c)
	if c.pending != nil {
		s.promote(c)
		return
	}
	s.timers.set(&c.timer, s.deadline(c))
}

func (s *Stage) dropPending(c *conn) {
	if c.pending != nil {
		s.release(c.pending.mark)
		c.pending = nil
	}
}

// promote opens the connection of the SYN that waited on c, which has ended.
func (s *Stage) promote(c *conn) {
	k, last, first := c.key, c.last, c.pending
	c.pending = nil // its mark goes on
	clientIsB := c.clientIsB == (first.dir == bus.ClientToServer)
	s.forget(c)
	c = s.open(&k, clientIsB, false, first)
	c.last = last // not now: a timer may be why c ended, long after
	s.timers.set(&c.timer, s.deadline(c))
	h := &c.half[bus.ClientToServer]
	h.syn, h.isn = true, first.seq
	h.scale, h.scaled, h.window, h.seen = first.scale, true, first.window, true
	s.setBase(h, first.seq+1)
}

// forget drops the last trace of an ended connection.
func (s *Stage) forget(c *conn) {
	if c.list != nil {
		c.list.remove(c)
	}
	s.timers.remove(&c.timer)
	s.release(c.mark)
	s.conns.remove(c)
	if s.recent == c {
		s.recent = nil
	}
	s.retired = append(s.retired, c) // not free yet: callers look at c.ended
}

func (s *Stage) newConn() *conn {
	if n := len(s.free); n > 0 {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		*c = conn{timer: timer{at: -1}}
		return c
	}
	return &conn{timer: timer{at: -1}}
}

// evict ends the connection that is missed least: the oldest without a
// handshake, else the oldest.
func (s *Stage) evict() {
	s.settle()
	c := s.young.head
	if c == nil {
		c = s.grown.head
	}
	s.close(c, bus.EndLimit, nil)
}

// send emits a record of c.
func (s *Stage) send(c *conn, r bus.Record) {
	r.Layer, r.Conn, r.Pos = bus.TCP, c.id, s.pos
	if c.udp() {
		r.Layer = bus.UDP
	}
	s.out = r
	s.emit(&s.out)
}

// resent counts a segment of d that was sent again.
func (s *Stage) resent(c *conn, d bus.Dir) {
	c.end.Retransmits++
	s.send(c, bus.Record{Type: bus.Resent, Dir: d, Offset: c.half[d].end(), Time: s.now, Aux: 1})
}

// connList is an ordered list of connections.
type connList struct {
	head, tail *conn
	n          int
}

func (l *connList) push(c *conn) {
	c.list, c.prev, c.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.n++
}

func (l *connList) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.list, c.prev, c.next = nil, nil, nil
	l.n--
}
