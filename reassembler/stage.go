package reassembler

import (
	"cmp"
	"slices"

	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

const protoUDP = wire.ProtoUDP

// Stage is the reassembler as a bus.Stage.
type Stage struct {
	session string
	emit    func(*bus.Record)
	out     bus.Record

	// Of the present frame.
	now    int64
	frame  uint64
	pos    uint64
	packet wire.Packet
	parts  *mark // of the first fragment, if there were any
	tcp    wire.Segment
	udp    wire.Datagram

	conns      connTable
	recent     *conn    // of the packet before
	young      connList // without handshake, and flows of datagrams
	grown      connList // the other open connections
	ended      connList // tombstones
	live       struct{ n int }
	timers     timerHeap
	held       int // as holding.size, of all
	replayable bool

	packets        map[packetKey]*fragments
	oldest, newest *fragments
	fragBytes      int

	retired   []*conn // in the present frame
	free      []*conn
	histories []*history
	holdings  []*holding

	marks      bus.LowMark
	before     uint64 // Low at the end of the message before
	floor      uint64 // replay from here ...
	floorUntil uint64 // ... while Low is not beyond this
	eos        bool
}

// New makes the stage. The session is part of every connection id.
func New(session string) bus.Stage {
	return &Stage{session: session, conns: newConnTable(), packets: map[packetKey]*fragments{}, before: bus.None, floor: bus.None}
}

// Takes is bus.Frames.
func (*Stage) Takes() []bus.Layer { return []bus.Layer{bus.Frames} }

// Gives is bus.TCP and bus.UDP.
func (*Stage) Gives() []bus.Layer { return []bus.Layer{bus.TCP, bus.UDP} }

// Process consumes a frame or the end of the frames.
//
// A driver that numbers messages (Record.Pos) may replay; partial connections
// then end after tailLimit instead of idleLimit.
func (s *Stage) Process(r *bus.Record, emit func(*bus.Record)) {
	if r.Layer != bus.Frames || s.eos {
		return
	}
	if r.Pos != s.pos {
		s.before = s.low()
		s.pos, s.replayable = r.Pos, true
	}
	s.emit = emit
	switch r.Type {
	case bus.EOS:
		s.finish(r)
	case bus.Dropped:
	default:
		s.process(r)
	}
	s.emit = nil
}

func (s *Stage) process(r *bus.Record) {
	s.now, s.frame, s.parts = r.Time, r.Offset, nil
	if len(s.retired) > 0 {
		s.free = append(s.free, s.retired...)
		s.retired = s.retired[:0]
	}
	for t := s.timers.first(); t != nil && t.due <= s.now; t = s.timers.first() {
		s.fire(t)
	}
	p := &s.packet
	if !p.Decode(uint16(r.Type), r.Payload, int(r.Aux)) {
		return
	}
	for depth := 0; p.Fragment; depth++ {
		if depth == 4 || !s.fragment(p) {
			return
		}
	}
	switch p.Proto {
	case wire.ProtoTCP:
		if p.Segment(&s.tcp) {
			s.segment(&s.tcp)
		}
	case wire.ProtoUDP:
		if p.Datagram(&s.udp) {
			s.datagram(&s.udp)
		}
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if s.parts == nil {
			s.icmp()
		}
	}
}

func (s *Stage) lookup(k *flowKey) *conn {
	if c := s.recent; c != nil && c.key == *k {
		return c
	}
	c := s.conns.get(k)
	s.recent = c
	return c
}

// fire acts on the first timer, which is due or seems so: only timers that were
// set to their true deadline act, so that they act in the order of deadlines.
func (s *Stage) fire(t *timer) {
	if f := t.fragments; f != nil {
		if due := after(f.last, fragmentAge); due != t.due {
			s.timers.set(t, due)
		} else {
			s.forgetFragments(f)
		}
		return
	}
	c := t.conn
	if due := s.deadline(c); due != t.due {
		s.timers.set(t, due)
		return
	}
	for d := range c.half {
		if h := &c.half[d]; !c.ended && h.gapAt != 0 && h.gapAt <= t.due {
			s.giveUp(c, bus.Dir(d))
			if !c.ended {
				s.timers.set(t, s.deadline(c))
			}
			return
		}
	}
	if !c.ended {
		s.dropPending(c)
		s.close(c, bus.EndIdle, nil)
	}
	if c.list != nil { // a flow of datagrams is forgotten already
		s.forget(c)
	}
}

// finish closes everything, oldest first.
func (s *Stage) finish(r *bus.Record) {
	s.eos = true
	var open []*conn
	for _, l := range []*connList{&s.young, &s.grown} {
		for c := l.head; c != nil; c = c.next {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *conn) int { return cmp.Compare(a.order, b.order) })
	for _, c := range open {
		if s.now = r.Time; s.now == 0 {
			s.now = c.last
		}
		s.dropPending(c)
		s.close(c, bus.EndCapture, nil)
	}
	for _, l := range s.Gives() {
		s.out = bus.Record{Layer: l, Type: bus.EOS, Time: r.Time, Pos: r.Pos}
		s.emit(&s.out)
	}
	*s = Stage{session: s.session, emit: s.emit, eos: true, before: bus.None, floor: bus.None}
}

// Low is the lowest position that a replay needs. It lags by a message: a
// driver may ask in the middle of one, whose output a replay has to repeat.
func (s *Stage) Low() uint64 { return min(s.before, s.low()) }

func (s *Stage) low() uint64 {
	low := s.marks.Low()
	if low <= s.floorUntil {
		low = min(low, s.floor)
	}
	return low
}

// settle is called where a limit on all connections decides something. A
// replay that knows fewer of them would decide otherwise, so none may begin
// between the present Low and here.
func (s *Stage) settle() {
	s.floor, s.floorUntil = s.Low(), s.pos
}
