package httpdec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"clipper/bus"
)

// protocol decodes what a connection carries.
type protocol interface {
	// data takes bytes of one direction and says how many it consumed. Fewer
	// than all means that it waits for the other direction, unless it made
	// another protocol the connection's. force forbids to wait.
	data(dir bus.Dir, p []byte, t int64, force bool) int
	// gap says that n bytes of a direction are lost.
	gap(dir bus.Dir, n uint64, t int64)
	// fin says that a direction ended in order.
	fin(dir bus.Dir, t int64)
	// abort fails all that is open.
	abort(f bus.Failure, t int64)
}

// conn is one connection.
type conn struct {
	s          *stage
	id         bus.ConnID
	mark       *bus.Mark
	prev, next *conn

	facts     bus.Connection
	announced bool
	changed   bool // facts differ from what was announced
	seen      bool // bytes came
	time      int64

	verdict *bus.Verdict // as last emitted
	alert   *bus.Alert   // to become a verdict, unless tlsdec gives its own
	unreach []byte

	proto     protocol
	det       detection
	tunnel    string // the target of the CONNECT under which the connection now is
	switches  uint64 // how often the protocol began anew on this connection
	held      [2][]heldItem
	heldBytes [2]int
	feeding   [2]bool
	closed    [2]bool
	reset     int // -1, or the Dir of who reset
	closer    int // -1, or the Dir of who ended the connection first

	losses bus.Losses // so far

	windows int // bytes that the windows of its decoders take

	datagrams *dns // of a UDP flow that carries DNS
	notDNS    bool

	dirty []*body // with data that has not been announced
}

// heldItem is input that waits for the other direction.
type heldItem struct {
	b    []byte
	gap  uint64
	fin  bool
	time int64
}

func newConn(s *stage, id bus.ConnID, o bus.ConnOpen, t int64) *conn {
	return &conn{s: s, id: id, time: t, reset: -1, closer: -1,
		facts: bus.Connection{Flow: o.Flow, Partial: o.Partial, Opened: t}}
}

func (c *conn) record(r *bus.Record) {
	if r.Time > c.time {
		c.time = r.Time
	}
	if c.alert != nil && r.Type != bus.Opaque {
		c.alertVerdict()
	}
	dir := r.Dir & 1
	if c.facts.Transport == "udp" && c.facts.TLS != nil {
		switch r.Type {
		case bus.Data, bus.Gap, bus.Fin, bus.Reset:
			c.losses.Lost += gapSize(r)
			c.quic(r)
			return
		}
	}
	switch r.Type {
	case bus.Established:
		c.facts.Established, c.changed = r.Time, true
	case bus.Info:
		c.info(r)
	case bus.Opaque:
		c.opaque(r)
	case bus.Data:
		switch {
		case len(r.Payload) == 0:
		case c.facts.Transport == "udp":
			c.datagram(r.Payload, r.Time)
		default:
			c.seen = true
			c.data(dir, r.Payload, r.Time)
		}
	case bus.Gap:
		if c.losses.Lost += gapSize(r); c.facts.Transport != "udp" {
			c.gap(dir, uint64(r.Aux), r.Time)
		}
	case bus.Fin:
		c.fin(dir, r.Time)
	case bus.Resent:
		c.losses.Resent += uint64(r.Aux)
	case bus.Reset:
		c.reset = int(dir)
	case bus.Unreachable:
		c.unreach = bytes.Clone(r.Payload)
	case bus.End:
		var e bus.ConnEnd
		_ = json.Unmarshal(r.Payload, &e) // an End without a reason is an End
		c.end(e, r.Time)
	}
}

func gapSize(r *bus.Record) uint64 {
	if r.Type == bus.Gap {
		return uint64(r.Aux)
	}
	return 0
}

// info takes what is known of TLS. On a connection that already carried
// cleartext (STARTTLS, a tunnel) the protocol begins anew.
func (c *conn) info(r *bus.Record) {
	t := new(bus.TLSInfo)
	if json.Unmarshal(r.Payload, t) != nil {
		return
	}
	fresh := c.facts.TLS == nil
	c.facts.TLS, c.changed = t, true
	if fresh && c.seen {
		c.restart(r.Time)
	}
	if a := t.Alert; a != nil && a.Level == "fatal" && c.verdict == nil && !c.exchanges() {
		c.alert = a
	}
	if c.announced {
		c.announce(r.Time)
	}
}

// exchanges reports whether HTTP was seen.
func (c *conn) exchanges() bool { return c.facts.Protocol != "" && c.announced }

func (c *conn) restart(t int64) {
	c.flushHeld(t)
	if c.proto != nil {
		c.proto.abort(bus.Failure{Code: "tls-started", Reason: "TLS began on the connection"}, t)
		c.switches++
	}
	c.proto, c.det = nil, detection{}
	c.facts.Protocol = ""
	c.closed = [2]bool{}
}

func (c *conn) alertVerdict() {
	a := c.alert
	c.alert = nil
	c.emitVerdict(bus.Verdict{Code: bus.VerdictHandshake,
		Reason: fmt.Sprintf("TLS handshake failed: the %s sent the alert %s (%d)", side(a.Dir), a.Description, a.Code)}, a.Time)
}

func (c *conn) opaque(r *bus.Record) {
	var v bus.Verdict
	if json.Unmarshal(r.Payload, &v) != nil {
		return
	}
	c.alert = nil
	c.emitVerdict(v, r.Time)
}

func (c *conn) emitVerdict(v bus.Verdict, t int64) {
	if c.verdict != nil && *c.verdict == v {
		return
	}
	c.verdict = &v
	c.announce(t)
	c.event(&bus.Event{Type: bus.EventVerdict, Time: t, Verdict: &v})
}

// data feeds bytes to the protocol, or to the detection of one.
func (c *conn) data(dir bus.Dir, p []byte, t int64) {
	if len(c.held[dir]) > 0 {
		c.hold(dir, heldItem{b: bytes.Clone(p), time: t})
		return
	}
	if c.proto == nil && !c.detect(dir, p, t) {
		return
	}
	if n := c.feed(dir, p, t, c.closed[1-dir]); n < len(p) {
		c.hold(dir, heldItem{b: bytes.Clone(p[n:]), time: t})
	}
	c.release(1 - dir)
}

// feed is the loop over changes of the protocol. It returns what was consumed.
// What the other direction holds goes on as soon as it can, in the middle of p,
// so that the order does not depend on how the bytes were cut.
func (c *conn) feed(dir bus.Dir, p []byte, t int64, force bool) (n int) {
	c.feeding[dir] = true
	defer func() { c.feeding[dir] = false }()
	for n < len(p) {
		if c.proto == nil && !c.detect(dir, p[n:], t) {
			return len(p)
		}
		was := c.proto
		k := was.data(dir, p[n:], t, force)
		n += k
		if k == 0 && c.proto == was {
			break
		}
		c.drain(1-dir, false)
	}
	return n
}

// waits reports whether the other direction holds input.
func (c *conn) waits(dir bus.Dir) bool { return len(c.held[1-dir]) > 0 && !c.feeding[1-dir] }

func (c *conn) hold(dir bus.Dir, h heldItem) {
	c.held[dir] = append(c.held[dir], h)
	c.heldBytes[dir] += len(h.b)
	if c.heldBytes[dir] > MaxHeld || c.closed[1-dir] || len(c.held[dir]) > MaxPipelined {
		c.forceHeld(dir)
	}
}

// release tries again what was held.
func (c *conn) release(dir bus.Dir) {
	c.drain(dir, false)
	c.drain(1-dir, false)
}

func (c *conn) forceHeld(dir bus.Dir) { c.drain(dir, true) }

func (c *conn) drain(dir bus.Dir, force bool) {
	if c.feeding[dir] {
		return
	}
	for len(c.held[dir]) > 0 {
		h := &c.held[dir][0]
		switch {
		case h.gap > 0:
			c.gapNow(dir, h.gap, h.time)
		case h.fin:
			c.finNow(dir, h.time)
		default:
			n := c.feed(dir, h.b, h.time, force)
			c.heldBytes[dir] -= n
			if n < len(h.b) {
				h.b = h.b[n:]
				return
			}
		}
		c.held[dir] = c.held[dir][1:]
	}
	c.held[dir] = nil
}

func (c *conn) flushHeld(t int64) {
	for range 2 {
		c.forceHeld(bus.ClientToServer)
		c.forceHeld(bus.ServerToClient)
	}
	c.det.giveUp(c, t)
}

func (c *conn) gap(dir bus.Dir, n uint64, t int64) {
	if len(c.held[dir]) > 0 {
		c.hold(dir, heldItem{gap: n, time: t})
		return
	}
	c.gapNow(dir, n, t)
	c.release(1 - dir)
}

func (c *conn) gapNow(dir bus.Dir, n uint64, t int64) {
	if c.proto != nil {
		c.proto.gap(dir, n, t)
	} else {
		c.det.gap(dir)
	}
}

func (c *conn) fin(dir bus.Dir, t int64) {
	c.closed[dir] = true
	if c.closer < 0 {
		c.closer = int(dir)
	}
	c.forceHeld(1 - dir)
	if len(c.held[dir]) > 0 {
		c.hold(dir, heldItem{fin: true, time: t})
		return
	}
	c.finNow(dir, t)
	c.release(1 - dir)
}

func (c *conn) finNow(dir bus.Dir, t int64) {
	if c.proto != nil {
		c.proto.fin(dir, t)
	}
}

// end closes the connection: what is open fails, and the reason is told.
func (c *conn) end(e bus.ConnEnd, t int64) {
	if c.alert != nil {
		c.alertVerdict()
	}
	c.flushHeld(t)
	if c.proto != nil {
		c.proto.abort(c.failure(e), t)
	}
	if c.datagrams != nil {
		c.datagrams.end(c.unanswered(e), t)
	}
	c.flushData()
	if c.facts.Transport == "udp" && !c.announced {
		return
	}
	c.announce(t)
	if e.Reason == bus.EndUnreach {
		e.Detail = strings.TrimPrefix(c.icmp(), ": ")
	}
	c.event(&bus.Event{Type: bus.EventClosed, Time: t, Closed: &e})
}

// failure is why what is still open at the end of the connection failed.
func (c *conn) failure(e bus.ConnEnd) bus.Failure {
	if tls := c.facts.TLS; tls != nil && tls.Alert != nil && tls.Alert.Level == "fatal" {
		return bus.Failure{Code: "tls-alert", Reason: fmt.Sprintf("the %s sent the TLS alert %s (%d)", side(tls.Alert.Dir), tls.Alert.Description, tls.Alert.Code)}
	}
	switch {
	case c.verdict != nil && c.verdict.Code == bus.VerdictDamaged:
		return bus.Failure{Code: "gap", Reason: c.verdict.Reason}
	case e.Reason == bus.EndRefused:
		return bus.Failure{Code: "refused", Reason: "the server refused the connection"}
	case e.Reason == bus.EndUnreach:
		return bus.Failure{Code: "unreachable", Reason: "the server is unreachable" + c.icmp()}
	case c.reset >= 0:
		s := side(bus.Dir(c.reset))
		return bus.Failure{Code: "reset-by-" + s, Reason: "the " + s + " reset the connection"}
	case e.Reason == bus.EndReset:
		return bus.Failure{Code: "reset", Reason: "the connection was reset"}
	case e.Reason == bus.EndIdle:
		return bus.Failure{Code: "idle", Reason: "nothing more came for the idle limit"}
	case e.Reason == bus.EndReused:
		return bus.Failure{Code: "reused", Reason: "a new connection took the ports of this one"}
	case e.Reason == bus.EndFIN && c.closer >= 0:
		return closedBy(bus.Dir(c.closer))
	case e.Reason == bus.EndFIN:
		return bus.Failure{Code: "closed", Reason: "the connection was closed"}
	}
	return bus.Failure{Code: "capture-end", Reason: "the capture ended before the exchange did"}
}

func closedBy(d bus.Dir) bus.Failure {
	s := side(d)
	return bus.Failure{Code: "closed-by-" + s, Reason: "the " + s + " closed the connection before the exchange was complete"}
}

// unanswered is why a question in a datagram got no answer.
func (c *conn) unanswered(e bus.ConnEnd) bus.Failure {
	switch e.Reason {
	case bus.EndUnreach:
		return c.failure(e)
	case bus.EndCapture:
		return bus.Failure{Code: "capture-end", Reason: "the capture ended before an answer came"}
	}
	return noAnswer
}

var noAnswer = bus.Failure{Code: "timeout", Reason: "the name server did not answer"}

// icmp says why the server is unreachable (RFC 792; RFC 1122, section 3.2.2.1; RFC
// 4443, section 3.1), behind a colon; empty: not known.
func (c *conn) icmp() string {
	if len(c.unreach) < 2 {
		return ""
	}
	kind, code := c.unreach[0], c.unreach[1]
	words := map[byte]string{0: "net unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "packet too large",
		6: "net unknown", 7: "host unknown", 9: "net prohibited", 10: "host prohibited", 13: "prohibited by a filter"}
	if c.facts.Server.Addr().Unmap().Is6() {
		words = map[byte]string{0: "no route", 1: "prohibited by a filter", 2: "beyond the scope of the source", 3: "address unreachable",
			4: "port unreachable", 5: "the source was not allowed", 6: "the route rejects it"}
	}
	if w := words[code]; w != "" {
		return fmt.Sprintf(": %s (ICMP type %d, code %d)", w, kind, code)
	}
	return fmt.Sprintf(": ICMP type %d, code %d", kind, code)
}

func side(d bus.Dir) string {
	if d == bus.ClientToServer {
		return "client"
	}
	return "server"
}

// announce emits a connection event when there is news.
func (c *conn) announce(t int64) {
	if c.announced && !c.changed {
		return
	}
	c.announced, c.changed = true, false
	facts := c.facts
	c.event(&bus.Event{Type: bus.EventConnection, Time: t, Connection: &facts})
}

// setProtocol names the protocol in the facts.
func (c *conn) setProtocol(name string) {
	if c.facts.Protocol != name {
		c.facts.Protocol, c.changed = name, true
	}
}

// lossesSince are what was lost since a time; nil: nothing.
func (c *conn) lossesSince(before bus.Losses) *bus.Losses {
	if c.losses == before {
		return nil
	}
	return &bus.Losses{Resent: c.losses.Resent - before.Resent, Lost: c.losses.Lost - before.Lost}
}

// event emits an event of this connection.
func (c *conn) event(e *bus.Event) {
	e.Conn = c.id
	c.s.out = bus.Record{Layer: bus.HTTP, Type: bus.Line, Dir: e.Dir, Conn: c.id, Stream: e.Stream, Time: e.Time, Event: e}
	c.s.emit(&c.s.out)
}

// flushData announces the body bytes of this call.
func (c *conn) flushData() {
	for i, b := range c.dirty {
		b.announce()
		c.dirty[i] = nil
	}
	c.dirty = c.dirty[:0]
}

func (c *conn) undirty(b *body) {
	if i := slices.Index(c.dirty, b); i >= 0 {
		c.dirty = slices.Delete(c.dirty, i, i+1)
	}
}

// stream numbers the exchanges of what the connection carries now: after a
// CONNECT or the start of TLS they start anew, in the upper 32 bits.
func (c *conn) stream(n uint64) uint64 { return c.switches<<32 | n }

// scheme and authority as best known, for URLs.
func (c *conn) origin() (scheme, authority string) {
	scheme, port := "http", uint16(80)
	if c.facts.TLS != nil {
		scheme, port = "https", 443
	}
	if c.tunnel != "" {
		return scheme, c.tunnel
	}
	if tls := c.facts.TLS; tls != nil && tls.SNI != "" {
		if p := c.facts.Server.Port(); p != port {
			return scheme, fmt.Sprintf("%s:%d", tls.SNI, p)
		}
		return scheme, tls.SNI
	}
	if !c.facts.Server.IsValid() {
		return scheme, ""
	}
	if c.facts.Server.Port() == port {
		if a := c.facts.Server.Addr().Unmap(); a.Is6() {
			return scheme, "[" + a.String() + "]"
		} else {
			return scheme, a.String()
		}
	}
	return scheme, c.facts.Server.String()
}
