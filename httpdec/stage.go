package httpdec

import (
	"encoding/json"

	"clipper/bus"
	"clipper/httpdec/grpcview"
)

// Limits that bound the memory of a connection against hostile peers.
const (
	MaxHead      = 256 << 10 // bytes of an HTTP/1 head, or of an HTTP/2 field section after decoding
	MaxEarly     = 64 << 10  // bytes of a connection kept until its protocol is known
	MaxHeld      = 64 << 10  // bytes of one direction that wait for the other
	MaxPipelined = 1024      // HTTP/1 requests of a connection without a response
	MaxStreams   = 16 << 10  // HTTP/2 streams of a connection that are open at once
	MaxWindows   = 64 << 20  // bytes of the windows of br and zstd of all bodies that a connection has open; no other body takes more than 256 KiB
)

// stage is the decoder. See bus.Stage for what it promises.
type stage struct {
	conns       map[bus.ConnID]*conn
	first, last *conn // in the order of their Open
	low         bus.LowMark
	emit        func(*bus.Record)
	out         bus.Record
	frames      frameReader
	schema      *grpcview.Schema
}

// Options of a decoder.
type Options struct {
	Schema *grpcview.Schema // shows messages of gRPC by name; nil: by number
}

// New returns a decoder without state.
func New() bus.Stage { return NewWith(Options{}) }

// NewWith is New with options.
func NewWith(o Options) bus.Stage {
	return &stage{conns: map[bus.ConnID]*conn{}, schema: o.Schema}
}

func (s *stage) Takes() []bus.Layer { return []bus.Layer{bus.Plain} }
func (s *stage) Gives() []bus.Layer { return []bus.Layer{bus.HTTP, bus.Body} }
func (s *stage) Low() uint64        { return s.low.Low() }

func (s *stage) Process(r *bus.Record, emit func(*bus.Record)) {
	s.emit = emit
	if r.Type == bus.EOS {
		s.eos(r)
		return
	}
	if r.Type == bus.Open {
		s.open(r)
		return
	}
	c := s.conns[r.Conn]
	if c == nil {
		return // it ended before the place from which a replay began
	}
	c.record(r)
	c.flushData()
	if r.Type == bus.End {
		s.forget(c)
	}
}

func (s *stage) open(r *bus.Record) {
	var o bus.ConnOpen
	if s.conns[r.Conn] != nil || json.Unmarshal(r.Payload, &o) != nil {
		return
	}
	c := newConn(s, r.Conn, o, r.Time)
	c.mark = s.low.Add(r.Pos)
	s.add(c)
}

// add appends a connection.
func (s *stage) add(c *conn) {
	s.conns[c.id] = c
	if c.prev = s.last; c.prev != nil {
		c.prev.next = c
	} else {
		s.first = c
	}
	s.last = c
}

func (s *stage) forget(c *conn) {
	delete(s.conns, c.id)
	s.low.Remove(c.mark)
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		s.last = c.prev
	}
}

// eos ends what is open, oldest first.
func (s *stage) eos(r *bus.Record) {
	for s.first != nil {
		c := s.first
		c.end(bus.ConnEnd{Reason: bus.EndCapture}, c.time)
		c.flushData()
		s.forget(c)
	}
	s.out = bus.Record{Layer: bus.HTTP, Type: bus.EOS, Time: r.Time, Event: &bus.Event{Type: bus.EventEOS, Time: r.Time}}
	s.emit(&s.out)
	s.out = bus.Record{Layer: bus.Body, Type: bus.EOS, Time: r.Time}
	s.emit(&s.out)
}
