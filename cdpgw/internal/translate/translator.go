package translate

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"clipper/bus"
	"clipper/bus/lookup"
	"clipper/cdpgw/internal/cdp"
)

// How long events wait for facts.
const (
	ProcessWait  = 100 * time.Millisecond // for the process of a connection, wall clock
	DoubtWait    = 2 * time.Second        // for the secrets of a connection that cannot be read, wall clock
	RedirectWait = 300 * time.Millisecond // for the request that follows a redirect, wall clock
	redirectSpan = 5 * time.Second        // between a redirect and the request that follows it, packet time
	warmConnect  = 2 * time.Second        // a connection idle for longer was not opened for its first request
)

// Bounds on what is remembered.
const (
	maxHeld      = 4096    // events of one connection that wait for its process
	maxRedirects = 64      // redirects of one process that a request may follow
	maxFollowers = 1024    // processes with redirects
	maxSockets   = 1 << 16 // socket events without a connection yet
	maxBlocked   = 4096    // connections that DevTools blocked
	maxFailed    = 256     // failed exchanges whose connection may prove to be blocked
	maxProcesses = 1 << 16
	maxNotes     = 4096 // explanations of rows that are not exchanges
	maxNames     = 64   // names of one flow that have a row
	maxChained   = 1 << 16
)

// Event is one event of the protocol.
type Event struct {
	Method   string
	Params   any
	PID      int    // of the process that caused it, 0 when unknown
	Exchange uint64 // counts the rows of the Network panel, from 1
}

// Message addresses the bodies of an exchange on the Body layer.
type Message struct {
	Conn   bus.ConnID
	Stream uint64
}

// Translator holds what is known of connections, exchanges and processes.
// Make one with New.
type Translator struct {
	emit      func(Event)
	announce  func(*Process)
	now       time.Time
	rows      uint64
	numbers   int64
	conns     map[bus.ConnID]*conn
	waiting   []*conn     // wait for their process, by deadline
	doubts    []*conn     // have a verdict that may prove wrong, by doubtEnds
	pending   []*exchange // redirects that wait for their follower, by deadline
	redirects map[redirectKey][]*exchange
	sockets   sockets
	processes processes
	observed  bool                  // processes are told of; not so in a recorded file
	chained   ring[string, Message] // request id of a redirect chain: its last exchange
	notes     ring[string, note]
	certs     ring[string, [][]byte]
	names     lookup.Names
	failed    ring[socketKey, failure] // the last one of a connection
}

// New makes a Translator. It hands events to emit, and each process to
// announce before the first event that names it.
func New(emit func(Event), announce func(*Process)) *Translator {
	return &Translator{
		emit: emit, announce: announce,
		conns:     map[bus.ConnID]*conn{},
		redirects: map[redirectKey][]*exchange{},
		sockets:   newSockets(),
		processes: newProcesses(),
		chained:   newRing[string, Message](maxChained),
		notes:     newRing[string, note](maxNotes),
		certs:     newRing[string, [][]byte](256),
		failed:    newRing[socketKey, failure](maxFailed),
	}
}

// ExpectProcesses says that process events will come, as in a live session, so
// that connections wait for theirs from the first on.
func (t *Translator) ExpectProcesses() { t.observed = true }

// HTTP takes one event of the HTTP layer. It keeps no part of e.
func (t *Translator) HTTP(e *bus.Event, now time.Time) {
	t.now = now
	t.Expire(now)
	switch e.Type {
	case bus.EventEOS:
		return
	case bus.EventDNS:
		t.lookedUp(e.DNS)
		if c := t.conns[e.Conn]; c != nil && c.doubt != nil && e.DNS != nil && e.DNS.Name == c.doubt.Verdict.Name && len(e.DNS.Addresses) > 0 {
			c.settle() // it was slow
		}
		return
	}
	c := t.conns[e.Conn]
	if c == nil {
		t.numbers++
		c = &conn{t: t, id: e.Conn, number: t.numbers, exchanges: map[uint64]*exchange{}}
		t.conns[e.Conn] = c
	}
	if e.Type == bus.EventConnection {
		if e.Connection != nil {
			c.setFacts(e.Connection)
			t.identify(c)
		}
		return
	}
	if c.process == nil && !c.gaveUp {
		t.identify(c)
	}
	if c.process == nil && !c.gaveUp && t.observed {
		if len(c.held) == 0 {
			c.deadline = now.Add(ProcessWait)
			t.waiting = append(t.waiting, c)
		}
		if len(c.held) < maxHeld {
			c.held = append(c.held, clone(e))
			return
		}
		t.release(c)
	}
	c.handle(e)
}

// lookedUp notes a name look-up, for the connections that waited for it.
func (t *Translator) lookedUp(d *bus.DNS) {
	if d == nil {
		return
	}
	kept := *d
	kept.Addresses, kept.Aliases = slices.Clone(d.Addresses), nil
	t.names.Add(&kept)
}

// Proc takes one event of the Proc layer. It keeps no part of e.
func (t *Translator) Proc(e *bus.ProcEvent, now time.Time) {
	t.now = now
	t.Expire(now)
	t.observed = true
	switch e.Type {
	case bus.ProcExec:
		t.processes.exec(e)
	case bus.ProcExit:
		t.processes.exit(e)
		delete(t.redirects, redirectKey{pid: e.PID})
	case bus.ProcHook:
		t.processes.hook(e)
	case bus.ProcSocket:
		t.sockets.add(e)
	case bus.ProcBlocked:
		t.sockets.block(e)
		key := socketKey{e.Transport, unmap(e.Local), unmap(e.Remote)}
		if f, ok := t.failed.get(key); ok && t.sockets.isBlocked(&f.x.c.facts) {
			t.fail(f.x, f.e)
		}
	default:
		return
	}
	for i := 0; i < len(t.waiting); i++ {
		if c := t.waiting[i]; t.identify(c) {
			i = -1 // release changed the list
		}
	}
}

// maxFlows bounds the answer of Flows.
const maxFlows = 1024

// Flows are the open connections whose name (of TLS, or else of the newest
// request) and server match, in order of their numbers.
func (t *Translator) Flows(match func(name string, server netip.AddrPort) bool) []bus.Flow {
	var found []*conn
	for _, c := range t.conns {
		if c.facts.Client.IsValid() && (c.facts.TLS != nil && match(c.facts.TLS.SNI, c.facts.Server) || match(c.host, c.facts.Server)) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *conn) int { return cmp.Compare(b.number, a.number) })
	var flows []bus.Flow
	for _, c := range found[:min(len(found), maxFlows)] { // the newest
		flows = append(flows, c.facts.Flow)
	}
	slices.Reverse(flows)
	return flows
}

// Flush ends all waiting: nothing more comes.
func (t *Translator) Flush(now time.Time) {
	t.now = now
	for len(t.waiting) > 0 {
		t.release(t.waiting[0])
	}
	for len(t.doubts) > 0 {
		t.doubts[0].judge(t.doubts[0].doubt)
	}
	for len(t.pending) > 0 {
		t.pending[0].finishRedirect()
	}
}

// Deadline is when Expire has something to do.
func (t *Translator) Deadline() (time.Time, bool) {
	var d time.Time
	if len(t.waiting) > 0 {
		d = t.waiting[0].deadline
	}
	if len(t.doubts) > 0 && (d.IsZero() || t.doubts[0].doubtEnds.Before(d)) {
		d = t.doubts[0].doubtEnds
	}
	if len(t.pending) > 0 && (d.IsZero() || t.pending[0].deadline.Before(d)) {
		d = t.pending[0].deadline
	}
	return d, !d.IsZero()
}

// Expire lets go what has waited long enough.
func (t *Translator) Expire(now time.Time) {
	t.now = now
	for len(t.waiting) > 0 && !t.waiting[0].deadline.After(now) {
		t.release(t.waiting[0])
	}
	for len(t.doubts) > 0 && !t.doubts[0].doubtEnds.After(now) {
		t.doubts[0].judge(t.doubts[0].doubt)
	}
	for len(t.pending) > 0 && !t.pending[0].deadline.After(now) {
		t.pending[0].finishRedirect()
	}
}

// identify looks for the process of c, and reports whether it let go of held events.
func (t *Translator) identify(c *conn) bool {
	if c.process != nil || c.gaveUp {
		return false
	}
	pid := c.pid()
	if pid == 0 {
		pid = t.sockets.find(&c.facts)
	}
	if pid == 0 {
		return false
	}
	p := t.processes.at(pid, c.facts.Opened)
	if p == nil {
		if t.processes.expected {
			return false
		}
		p = t.processes.guess(pid, c.facts.TLS)
	}
	t.adopt(c, p)
	return t.release(c)
}

func (t *Translator) adopt(c *conn, p *Process) {
	c.process = p
	p.spoke = true
	for _, a := range p.ancestors() {
		t.announceOnce(a)
	}
	t.announceOnce(p)
}

func (t *Translator) announceOnce(p *Process) {
	if !p.announced {
		p.announced = true
		t.announce(p)
	}
}

// release handles what was held of c, with its process or without.
func (t *Translator) release(c *conn) bool {
	if len(c.held) == 0 {
		return false
	}
	for i, w := range t.waiting {
		if w == c {
			t.waiting = append(t.waiting[:i], t.waiting[i+1:]...)
			break
		}
	}
	if c.process == nil {
		c.gaveUp = true
		if pid := c.pid(); pid != 0 || t.sockets.find(&c.facts) != 0 {
			if pid == 0 {
				pid = t.sockets.find(&c.facts)
			}
			t.processes.expected = false
			t.adopt(c, t.processes.guess(pid, c.facts.TLS))
		}
	}
	held := c.held
	c.held = nil
	for _, e := range held {
		c.handle(e)
	}
	return true
}

// Message finds the exchange whose bodies belong to a request id.
func (t *Translator) Message(requestID string) (Message, bool) {
	if m, ok := t.chained.get(requestID); ok {
		return m, true
	}
	return parseRequestID(requestID)
}

// Note is the explanation of a row that is a connection and not an exchange, in
// plain text.
func (t *Translator) Note(requestID string) (bus.ConnID, string, bool) {
	n, ok := t.notes.get(requestID)
	return n.conn, n.text, ok
}

type note struct {
	conn bus.ConnID
	text string
}

// Certificates is the chain that an origin ("https://host:port") showed last, DER, leaf first.
func (t *Translator) Certificates(origin string) [][]byte {
	chain, _ := t.certs.get(origin)
	return chain
}

func (t *Translator) row() uint64 {
	t.rows++
	return t.rows
}

// seconds has microseconds: more digits than that are noise of the conversion.
func seconds(ns int64) float64 { return float64(ns/1e3) / 1e6 }

func addrSpace(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return "Unknown"
	case a.IsLoopback():
		return "Loopback"
	case a.IsPrivate() || a.IsLinkLocalUnicast():
		return "Local"
	}
	return "Public"
}

func headers(f []bus.Field) cdp.Headers { return cdp.Headers(f) }

// responseHeaders leaves out :status, which has a place of its own.
func responseHeaders(f []bus.Field) cdp.Headers {
	out := make(cdp.Headers, 0, len(f))
	for _, h := range f {
		if h.Name != ":status" {
			out = append(out, h)
		}
	}
	return out
}
