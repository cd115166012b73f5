package tcp

import "time"

// Link takes the segments of a Conn.
type Link interface {
	// Send sends a segment; b, which may be nil, holds its payload and the room
	// for its headers. The link does not keep b.
	Send(s *Segment, b *Buffer)
}

// Options of a Conn.
type Options struct {
	ISS     uint32 // initial sequence number
	MaxMSS  int    // payload of the largest packet of the link
	Window  int    // bytes that may come before the reader takes any
	Release func(*Buffer)
}

// Times of retransmission (RFC 6298). The other end is a kernel across a memory
// copy, so the limits are lower than between machines.
const (
	minRTO   = 200 * time.Millisecond
	maxRTO   = 10 * time.Second
	synRTO   = time.Second
	maxTries = 15 // about two minutes
	maxProbe = 60 * time.Second
	// A kernel forgets a closed connection of which it waits for the other end's
	// FIN after 60 s (tcp_fin_timeout) and answers with a RST from then on.
	presenceInterval = 2 * time.Minute
)

// AckDelay is how long an acknowledgement may wait for data to travel with. It is far less
// than the kernel's 40 ms: a program that waits for it (RFC 896) hardly notices.
const AckDelay = 500 * time.Microsecond

const windowScale = 7

// earlyAck is how many bytes make an acknowledgement worth it that opens the window.
const earlyAck = 16 << 10

// Event is what a segment or the time brought about.
type Event struct {
	Data      []byte // the next bytes of the stream, part of the segment
	Connected bool   // the handshake is done
	End       bool   // the other end will send nothing more (FIN)
	Closed    bool   // the connection is over: both ends are closed and acknowledged
	Reset     bool   // or was reset
	Lost      bool   // or nothing is heard any more
}

type state byte

const (
	synSent state = iota
	synReceived
	open   // and all states after it: see ended, finSent, finAcked
	closed // nothing is sent or taken any more
)

// Conn is one end of a connection. It is not safe for concurrent use. Times are
// any monotonic clock's.
type Conn struct {
	link Link
	o    Options

	state    state
	ended    bool // FIN received
	closing  bool // FIN is to be sent, after everything else
	finSent  bool
	finAcked bool
	blocked  bool // the sender waits for a window

	// Sending (RFC 9293, section 3.3.1).
	una, nxt   uint32
	window     uint32
	scale      uint8
	mss        int
	inFlight   []*Buffer // from una on
	rto        time.Duration
	deadline   time.Duration // of a retransmission or a probe; 0: none
	presence   time.Duration // when to ask an end that has sent its FIN whether it is still there; 0: never
	tries      int
	dupAcks    int
	recovering bool
	recover    uint32 // nxt when a loss was noticed

	// Receiving.
	irs, rcvNxt uint32
	acked       uint32 // last acknowledgement sent
	edge        uint32 // end of the advertised window
	rcvScale    uint8
	backlog     int // bytes that the reader has not taken yet
	limit       int // of the window
	ackNow      bool
}

// Accept takes the connection that syn asks for and answers it.
func Accept(link Link, o Options, syn *Segment, now time.Duration) *Conn {
	c := newConn(link, o, synReceived)
	c.irs, c.rcvNxt = syn.Seq, syn.Seq+1
	c.negotiate(syn)
	if !syn.HasScale {
		c.rcvScale = 0
	}
	c.window = uint32(syn.Window) // of a SYN: never scaled
	c.nxt++
	c.sendSYN()
	c.arm(now, synRTO)
	return c
}

// Connect asks for a connection.
func Connect(link Link, o Options, now time.Duration) *Conn {
	c := newConn(link, o, synSent)
	c.nxt++
	c.sendSYN()
	c.arm(now, synRTO)
	return c
}

func newConn(link Link, o Options, s state) *Conn {
	return &Conn{link: link, o: o, state: s, una: o.ISS, nxt: o.ISS, rcvScale: windowScale, limit: o.Window}
}

// negotiate takes over the options of a SYN.
func (c *Conn) negotiate(s *Segment) {
	c.mss = int(s.MSS)
	if c.mss == 0 {
		c.mss = 536 // RFC 9293, section 3.7.1
	}
	c.mss = max(min(c.mss, c.o.MaxMSS), 64)
	if s.HasScale {
		c.scale = s.Scale
	} else {
		c.rcvScale = 0
	}
	c.edge, c.acked = c.rcvNxt, c.rcvNxt
}

// MSS is the payload of the largest packet that the other end takes. Segments
// may be larger: the link cuts them.
func (c *Conn) MSS() int { return c.mss }

// Input takes a segment. What Event.Data brings has been accepted.
func (c *Conn) Input(s *Segment, now time.Duration) (e Event) {
	switch c.state {
	case closed:
		return e
	case synSent:
		return c.inputSYNSent(s, now)
	}
	if s.Flags&RST != 0 {
		switch {
		case s.Seq == c.rcvNxt:
			c.close()
			e.Reset = true
		case !before(s.Seq, c.rcvNxt) && before(s.Seq, c.edge):
			c.sendACK() // a challenge (RFC 5961, section 3)
		}
		return e
	}
	if s.Flags&SYN != 0 {
		if c.state == synReceived && s.Flags&ACK == 0 && s.Seq == c.irs {
			c.sendSYN() // ours was lost
		} else {
			c.sendACK() // a challenge (RFC 5961, section 4)
		}
		return e
	}
	if s.Flags&ACK == 0 {
		return e
	}
	if after(s.Ack, c.nxt) {
		c.ackNow = true
		return e
	}
	if c.state == synReceived {
		if s.Ack != c.nxt {
			return e
		}
		c.una = s.Ack
		c.opened()
		e.Connected = true
	}
	data, fin := c.trim(s)
	c.acknowledged(s, now)
	if c.state == closed {
		return e
	}
	c.rcvNxt += uint32(len(data))
	e.Data = data
	if fin {
		c.rcvNxt++
		c.ended, c.ackNow = true, true
		e.End = true
	}
	// Every second full segment (RFC 9293, section 3.8.6.3), and earlier where the
	// window of the SYN, which is not scaled, would hold the sender up.
	if n := c.rcvNxt - c.acked; n >= 2*uint32(c.o.MaxMSS) || n >= earlyAck && c.edge-c.rcvNxt < uint32(c.limit/2) {
		c.ackNow = true
	}
	e.Closed = c.over()
	if c.ended && c.state == open {
		c.presence = now + presenceInterval
	}
	return e
}

func (c *Conn) inputSYNSent(s *Segment, now time.Duration) (e Event) {
	if s.Flags&ACK != 0 && s.Ack != c.nxt {
		if rst, ok := Refusal(s); ok {
			c.link.Send(&rst, nil)
		}
		return e
	}
	switch {
	case s.Flags&ACK == 0: // neither an answer nor, as the program's kernel knows of no such address, its own attempt
	case s.Flags&RST != 0:
		c.close()
		e.Reset = true
	case s.Flags&SYN != 0:
		c.irs, c.rcvNxt = s.Seq, s.Seq+1
		c.negotiate(s)
		c.una, c.window = s.Ack, uint32(s.Window)
		c.opened()
		c.sendACK()
		e.Connected = true
	}
	return e
}

func (c *Conn) opened() {
	c.state = open
	c.deadline, c.tries = 0, 0
}

// trim cuts a segment down to what is new and within the window (RFC 9293,
// section 3.10.7.4).
func (c *Conn) trim(s *Segment) (data []byte, fin bool) {
	data, fin = s.Payload, s.Flags&FIN != 0
	switch n := len(data); {
	case after(s.Seq, c.rcvNxt): // something before it was lost
		c.ackNow = c.ackNow || n > 0 || fin
		return nil, false
	case before(s.Seq, c.rcvNxt): // again, or a keep-alive (RFC 9293, section 3.8.4)
		c.ackNow = true
		old := c.rcvNxt - s.Seq
		if old > uint32(n) || c.ended {
			return nil, false
		}
		data = data[old:]
	}
	if c.ended {
		return nil, false
	}
	if room := c.edge - c.rcvNxt; uint32(len(data)) > room {
		data, fin, c.ackNow = data[:room], false, true
	}
	return data, fin
}

// acknowledged takes the acknowledgement and the window of a segment.
func (c *Conn) acknowledged(s *Segment, now time.Duration) {
	if before(s.Ack, c.una) {
		return
	}
	window := uint32(s.Window) << c.scale
	if s.Ack != c.una {
		c.forget(s.Ack - c.una)
		c.una = s.Ack
		c.tries, c.dupAcks, c.deadline = 0, 0, 0
		c.finAcked = c.finSent && c.una == c.nxt
		if c.recovering = c.recovering && before(c.una, c.recover); c.recovering {
			c.retransmit()
		}
		if c.una != c.nxt {
			c.arm(now, minRTO)
		}
	} else if c.una != c.nxt && len(s.Payload) == 0 && window == c.window && !c.recovering {
		if c.dupAcks++; c.dupAcks == 3 { // RFC 5681, section 3.2
			c.lost()
		}
	}
	if c.window = window; window == 0 {
		c.tries = 0 // the program does not read, but it is there
	}
	if c.blocked && c.usable() > 0 {
		c.blocked = false
		if c.una == c.nxt {
			c.deadline = 0
		}
	}
	c.sendFIN(now)
	if c.blocked && c.deadline == 0 {
		c.arm(now, minRTO)
	}
}

// forget releases n acknowledged bytes.
func (c *Conn) forget(n uint32) {
	k := 0
	for n > 0 && k < len(c.inFlight) {
		b := c.inFlight[k]
		if take := uint32(b.Len()); take > n {
			b.start += int(n)
			break
		} else {
			n -= take
		}
		c.o.Release(b)
		k++
	}
	rest := copy(c.inFlight, c.inFlight[k:])
	clear(c.inFlight[rest:])
	c.inFlight = c.inFlight[:rest]
}

// Room is how many bytes may be written now. While it is 0, Block makes the Conn
// ask for more.
func (c *Conn) Room() int {
	if c.state != open || c.closing {
		return 0
	}
	n := c.usable()
	if n < min(c.mss, sliver) && c.una != c.nxt {
		return 0 // no small segments into the rest of a window (RFC 9293, section 3.8.6.2.1)
	}
	return n
}

// sliver is what is too little to be sent while more room is sure to come.
const sliver = 16 << 10

// usable is what is left of the other end's window.
func (c *Conn) usable() int { return max(0, int(int32(c.una+c.window-c.nxt))) }

// InFlight is how many bytes are not acknowledged.
func (c *Conn) InFlight() int { return int(c.nxt - c.una) }

// Block says that there is data to be written, but no room for it. The Conn
// makes sure that it learns when there is.
func (c *Conn) Block(now time.Duration) {
	c.blocked = true
	if c.deadline == 0 && c.state == open {
		c.arm(now, minRTO)
	}
}

// Write sends b, of at most Room bytes, and keeps it until it is acknowledged;
// then Options.Release gets it.
func (c *Conn) Write(b *Buffer, push bool, now time.Duration) {
	flags := ACK
	if push {
		flags |= PSH
	}
	seq := c.nxt
	c.nxt += uint32(b.Len())
	c.inFlight = append(c.inFlight, b)
	c.send(flags, seq, b)
	if c.deadline == 0 {
		c.arm(now, minRTO)
	}
}

// CloseWrite ends the stream after what has been written. It reports whether the
// connection is over.
func (c *Conn) CloseWrite(now time.Duration) bool {
	c.closing = true
	c.sendFIN(now)
	return c.over()
}

func (c *Conn) sendFIN(now time.Duration) {
	if !c.closing || c.finSent || c.state != open {
		return
	}
	if c.usable() == 0 {
		c.Block(now)
		return
	}
	c.finSent = true
	c.nxt++
	c.send(FIN|ACK, c.nxt-1, nil)
	if c.deadline == 0 {
		c.arm(now, minRTO)
	}
}

// over reports whether both streams have ended, and closes the connection then.
func (c *Conn) over() bool {
	if c.state != open || !c.ended || !c.finAcked {
		return false
	}
	c.Flush()
	c.close()
	return true
}

// Abort ends the connection with a RST.
func (c *Conn) Abort() {
	if c.state == synSent || c.state == closed {
		c.close()
		return
	}
	c.send(RST|ACK, c.nxt, nil)
	c.close()
}

func (c *Conn) close() {
	for _, b := range c.inFlight {
		c.o.Release(b)
	}
	c.inFlight, c.state, c.deadline, c.presence, c.ackNow = nil, closed, 0, 0, false
}

// SetBacklog says how many bytes the reader has not taken yet, and how large the
// window may be; one that has opened far is told at once.
func (c *Conn) SetBacklog(n, limit int) {
	c.backlog, c.limit = n, limit
	if room := c.edge - c.rcvNxt; c.state == open && !c.ended && uint32(c.space()) >= room+uint32(limit/2) {
		c.ackNow = true
	}
}

func (c *Conn) space() int { return max(0, c.limit-c.backlog) }

// advertised is the window to send. It never takes back what was promised (RFC
// 9293, section 3.8.6.2.2 and 3.7.5).
func (c *Conn) advertised(scale uint8) uint16 {
	w := min(uint32(c.space())>>scale, 0xffff)
	if promised := c.edge - c.rcvNxt; w<<scale < promised {
		w = min((promised+1<<scale-1)>>scale, 0xffff)
	}
	c.edge = c.rcvNxt + w<<scale
	return uint16(w)
}

// NeedsAck says whether an acknowledgement is due: now, or within AckDelay.
func (c *Conn) NeedsAck() (now, later bool) {
	if c.state != open {
		return c.ackNow && c.state != closed, false
	}
	return c.ackNow, c.rcvNxt != c.acked
}

// Flush sends the acknowledgement that is due.
func (c *Conn) Flush() {
	if now, later := c.NeedsAck(); now || later {
		c.sendACK()
	}
}

func (c *Conn) sendACK() { c.send(ACK, c.nxt, nil) }

func (c *Conn) send(flags byte, seq uint32, b *Buffer) {
	s := Segment{Flags: flags, Seq: seq, Ack: c.rcvNxt, Window: c.advertised(c.rcvScale)}
	if b != nil {
		s.Payload = b.Bytes()
	}
	c.acked, c.ackNow = c.rcvNxt, false
	c.link.Send(&s, b)
}

func (c *Conn) sendSYN() {
	s := Segment{Flags: SYN, Seq: c.una, MSS: uint16(min(c.o.MaxMSS, 0xffff)), Scale: windowScale, HasScale: true}
	if c.state == synReceived {
		s.Flags |= ACK
		s.Ack, s.HasScale = c.rcvNxt, c.rcvScale != 0
	}
	s.Window = c.advertised(0)
	c.link.Send(&s, nil)
}

// Deadline is when Tick has something to do; 0: never.
func (c *Conn) Deadline() time.Duration {
	if c.deadline == 0 || c.presence != 0 && c.presence < c.deadline {
		return c.presence
	}
	return c.deadline
}

func (c *Conn) arm(now, wait time.Duration) {
	c.rto = wait
	c.deadline = now + wait
}

// Tick sends again what is overdue.
func (c *Conn) Tick(now time.Duration) (e Event) {
	if c.presence != 0 && now >= c.presence {
		c.presence = now + presenceInterval
		if c.una == c.nxt { // else what is in flight asks
			c.send(ACK, c.una-1, nil) // a keep-alive (RFC 9293, section 3.8.4)
		}
	}
	if c.deadline == 0 || now < c.deadline {
		return e
	}
	limit := maxRTO
	switch {
	case c.una == c.nxt: // a window of 0
		if !c.blocked && !(c.closing && !c.finSent) {
			c.deadline = 0
			return e
		}
		c.send(ACK, c.una-1, nil) // answered with the window, as Linux does it itself
		limit = maxProbe
	case c.tries >= maxTries:
		c.Abort()
		e.Lost = true
		return e
	case c.state != open:
		c.tries += 2 // as long as a kernel tries
		c.sendSYN()
		limit = maxProbe
	default:
		c.tries++
		c.lost()
	}
	c.arm(now, min(2*c.rto, limit))
	return e
}

// lost sends again from una on: the first segment now, each next one when that
// before it is acknowledged (RFC 6582).
func (c *Conn) lost() {
	c.recovering, c.recover = true, c.nxt
	c.retransmit()
}

func (c *Conn) retransmit() {
	switch {
	case len(c.inFlight) > 0:
		c.send(ACK|PSH, c.una, c.inFlight[0])
	case c.finSent && !c.finAcked:
		c.send(FIN|ACK, c.nxt-1, nil)
	}
}

// before and after compare sequence numbers (RFC 9293, section 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return int32(a-b) > 0 }
