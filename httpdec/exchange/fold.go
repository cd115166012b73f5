package exchange

import (
	"net/netip"
	"slices"

	"clipper/bus"
	"clipper/bus/lookup"
)

// Limits on the memory of a Fold; the oldest go first.
const (
	MaxOpen      = 100_000 // exchanges that have not ended
	MaxProcesses = 10_000
	MaxSockets   = 100_000
)

// Handler receives what a Fold makes. Either may be nil.
type Handler struct {
	Exchange func(*Exchange) // each exchange once, when it is finished
	Verdict  func(*Verdict)  // each verdict; a later one of the same connection replaces it
}

// Fold joins events. Feed it the events of all partitions of HTTP and Proc in the
// order in which they come; it is not safe for concurrent use.
type Fold struct {
	h       Handler
	conns   map[bus.ConnID]*connection
	open    int
	order   []*Exchange // to find the oldest; may hold finished ones
	procs   bounded[int, Process]
	sockets bounded[socket, int]
	hooks   bounded[int, hooks]
	names   lookup.Names
}

type connection struct {
	facts     bus.Connection
	exchanges map[uint64]*Exchange
	any       bool // an exchange was seen
	lookup    *lookup.Lookup
}

// New returns an empty fold.
func New(h Handler) *Fold {
	return &Fold{h: h, conns: map[bus.ConnID]*connection{},
		procs: bounded[int, Process]{max: MaxProcesses}, sockets: bounded[socket, int]{max: MaxSockets},
		hooks: bounded[int, hooks]{max: MaxProcesses}}
}

// Proc takes a process event.
func (f *Fold) Proc(e *bus.ProcEvent) {
	switch e.Type {
	case bus.ProcExec:
		f.procs.put(e.PID, Process{e.PID, e.Exe, e.Argv})
	case bus.ProcHook:
		f.hooked(e)
	case bus.ProcSocket:
		f.sockets.put(socketOf(e.Transport, e.Local, e.Remote), e.PID)
	}
}

func socketOf(transport string, local, remote netip.AddrPort) socket {
	unmap := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	if transport == "" {
		transport = "tcp"
	}
	return socket{transport, unmap(local), unmap(remote)}
}

// Process finds who opened a connection, as known now: whose secrets read it,
// else whose socket it is. On a connection into the sandbox, the process is the
// server.
func (f *Fold) Process(c *bus.Connection) Process {
	pid := 0
	if c.TLS != nil {
		pid = c.TLS.PID
	}
	if pid == 0 {
		pid, _ = f.sockets.get(socketOf(c.Transport, c.Client, c.Server))
	}
	if pid == 0 {
		pid, _ = f.sockets.get(socketOf(c.Transport, c.Server, c.Client))
	}
	if pid == 0 {
		return Process{}
	}
	if p, ok := f.procs.get(pid); ok {
		return p
	}
	p := Process{PID: pid}
	if c.TLS != nil && c.TLS.PID == pid {
		p.Exe = c.TLS.Executable
	}
	return p
}

// Event takes an HTTP event. The fold keeps what e points to, not e.
func (f *Fold) Event(e *bus.Event) {
	if e.Type == bus.EventEOS {
		return // of one partition
	}
	if e.Type == bus.EventDNS {
		f.names.Add(e.DNS)
		return
	}
	c := f.conns[e.Conn]
	if c == nil {
		if e.Type == bus.EventClosed {
			return
		}
		c = &connection{exchanges: map[uint64]*Exchange{}}
		f.conns[e.Conn] = c
	}
	switch e.Type {
	case bus.EventConnection:
		if e.Connection != nil {
			c.facts = *e.Connection
			f.lookup(c)
		}
	case bus.EventVerdict:
		if e.Verdict != nil {
			f.verdict(c, e, *e.Verdict)
		}
	case bus.EventClosed:
		f.closed(c, e)
	default:
		f.exchange(c, e)
	}
}

func (f *Fold) verdict(c *connection, e *bus.Event, v bus.Verdict) {
	if f.h.Verdict != nil {
		f.h.Verdict(&Verdict{Conn: e.Conn, Time: e.Time, Verdict: v, Connection: c.facts, Process: f.Process(&c.facts)})
	}
}

func (f *Fold) closed(c *connection, e *bus.Event) {
	if e.Closed != nil {
		switch e.Closed.Reason {
		case bus.EndRefused:
			f.verdict(c, e, bus.Verdict{Code: Refused, Reason: "the server refused the connection"})
		case bus.EndUnreach:
			reason := "the server is unreachable"
			if e.Closed.Detail != "" {
				reason += ": " + e.Closed.Detail
			}
			f.verdict(c, e, bus.Verdict{Code: Unreachable, Reason: reason})
		case bus.EndIdle, bus.EndReused:
			if a := &c.facts; a.Transport == "tcp" && a.Established == 0 && !a.Partial && !c.any {
				f.verdict(c, e, bus.Verdict{Code: Timeout, Reason: "the server did not answer"})
			}
		}
	}
	f.flush(c)
	delete(f.conns, e.Conn)
}

// lookup finds how the name of the server was looked up. Its answer may come a
// little late, from another partition.
func (f *Fold) lookup(c *connection) {
	if c.lookup == nil && c.facts.Transport != "udp" {
		c.lookup = f.names.Find(&c.facts)
	}
}

// flush hands out what a connection leaves open, oldest first.
func (f *Fold) flush(c *connection) {
	streams := make([]uint64, 0, len(c.exchanges))
	for s := range c.exchanges {
		streams = append(streams, s)
	}
	slices.Sort(streams)
	for _, s := range streams {
		f.finish(c, c.exchanges[s])
	}
}

func (f *Fold) exchange(c *connection, e *bus.Event) {
	x := c.exchanges[e.Stream]
	if x == nil {
		if e.Type != bus.EventRequest && e.Type != bus.EventResponse && e.Type != bus.EventInformation {
			return // what is left of one that ended
		}
		x = &Exchange{Conn: e.Conn, Stream: e.Stream, First: !c.any}
		c.any = true
		c.exchanges[e.Stream] = x
		f.admit(x)
	}
	x.apply(e)
	if x.Finished() {
		f.finish(c, x)
	}
}

// admit counts x and hands out the oldest when there are too many.
func (f *Fold) admit(x *Exchange) {
	f.order = append(f.order, x)
	f.open++
	if f.open > MaxOpen {
		for len(f.order) > 0 {
			oldest := f.order[0]
			f.order = f.order[1:]
			if c := f.conns[oldest.Conn]; c != nil && c.exchanges[oldest.Stream] == oldest {
				f.finish(c, oldest)
				break
			}
		}
	}
	if len(f.order) > 2*f.open+1024 {
		f.order = slices.DeleteFunc(f.order, func(x *Exchange) bool {
			c := f.conns[x.Conn]
			return c == nil || c.exchanges[x.Stream] != x
		})
	}
}

func (f *Fold) finish(c *connection, x *Exchange) {
	delete(c.exchanges, x.Stream)
	f.open--
	f.lookup(c)
	x.Connection, x.Lookup = c.facts, c.lookup
	x.Process = f.Process(&c.facts)
	if f.h.Exchange != nil {
		f.h.Exchange(x)
	}
}

// Again drops what has not ended: the events of all connections will come again,
// from the beginning.
func (f *Fold) Again() {
	f.conns, f.order, f.open = map[bus.ConnID]*connection{}, nil, 0
}

// Close hands out what has not ended, as it is.
func (f *Fold) Close() {
	ids := make([]bus.ConnID, 0, len(f.conns))
	for id := range f.conns {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		f.flush(f.conns[id])
		delete(f.conns, id)
	}
}

func (x *Exchange) apply(e *bus.Event) {
	switch e.Type {
	case bus.EventRequest:
		x.Request, x.RequestTime = e.Request, e.Time
	case bus.EventInformation:
		if len(x.Information) < MaxInformation {
			x.Information = append(x.Information, Information{e.Time, e.Response})
		}
	case bus.EventResponse:
		x.Response, x.ResponseTime = e.Response, e.Time
	case bus.EventData:
		if e.Data != nil {
			d := e.Dir & 1
			x.Wire[d] += e.Data.Wire
			x.Decoded[d] = max(x.Decoded[d], e.Data.Offset+e.Data.Decoded)
		}
	case bus.EventEnd:
		x.end(e)
	case bus.EventFailed:
		x.Failure, x.Failed = e.Failure, e.Time
		if e.Failure != nil && e.Failure.Losses != nil {
			x.Losses = *e.Failure.Losses
		}
	case bus.EventMessage:
		if e.Message == nil {
			return
		}
		x.MessageCount++
		if len(x.Messages) < MaxMessages && x.messageBytes < MaxMessageBytes {
			x.messageBytes += len(e.Message.Text) + len(e.Message.Binary)
			x.Messages = append(x.Messages, Message{e.Time, e.Dir, e.Message})
		}
	}
}

func (x *Exchange) end(e *bus.Event) {
	if e.End != nil {
		d := e.Dir & 1
		x.Wire[d], x.Decoded[d] = e.End.Wire, e.End.Decoded
		if e.End.Losses != nil {
			x.Losses = *e.End.Losses
		}
	}
	if e.Dir == bus.ServerToClient {
		x.ResponseEnded, x.ResponseEnd = e.Time, e.End
	} else {
		x.RequestEnded, x.RequestEnd = e.Time, e.End
	}
}

// bounded is a map that forgets the oldest keys.
type bounded[K comparable, V any] struct {
	max  int
	m    map[K]V
	keys []K
}

func (b *bounded[K, V]) put(k K, v V) {
	if b.m == nil {
		b.m = map[K]V{}
	}
	if _, ok := b.m[k]; !ok {
		if b.keys = append(b.keys, k); len(b.keys) > b.max {
			delete(b.m, b.keys[0])
			b.keys = b.keys[1:]
		}
	}
	b.m[k] = v
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	v, ok := b.m[k]
	return v, ok
}
