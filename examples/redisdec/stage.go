package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"clipper/bus"
	"clipper/httpdec"
)

// stage decodes connections that begin like Redis itself and leaves all others
// to the HTTP decoder.
type stage struct {
	http  bus.Stage
	conns map[bus.ConnID]*conn
	low   bus.LowMark
}

func newStage() bus.Stage { return &stage{http: httpdec.New(), conns: map[bus.ConnID]*conn{}} }

func (s *stage) Takes() []bus.Layer { return s.http.Takes() }
func (s *stage) Gives() []bus.Layer { return s.http.Gives() }

// Low is the oldest record that is needed again after a restart: that with which
// the oldest open connection began. The HTTP decoder's own would not do, for it
// gets to see a connection later than it began.
func (s *stage) Low() uint64 { return s.low.Low() }

func (s *stage) Process(r *bus.Record, emit func(*bus.Record)) {
	if r.Type == bus.EOS {
		for _, id := range slices.Sorted(maps.Keys(s.conns)) { // output is a function of the input, not of a map's order
			s.conns[id].end(r.Time, bus.ConnEnd{Reason: bus.EndCapture}, emit)
		}
		s.http.Process(r, emit)
		return
	}
	if r.Type == bus.Open && s.conns[r.Conn] == nil {
		s.conns[r.Conn] = &conn{id: r.Conn, http: s.http, mark: s.low.Add(r.Pos)}
	}
	c := s.conns[r.Conn]
	if c == nil {
		return // it ended before the place from which a replay began
	}
	c.record(r, emit)
	if r.Type == bus.End {
		s.low.Remove(c.mark)
		delete(s.conns, c.id)
	}
}

// conn is a connection.
type conn struct {
	id   bus.ConnID
	http bus.Stage
	mark *bus.Mark
	emit func(*bus.Record)

	protocol protocol
	held     []bus.Record // until the protocol is known
	open     bus.ConnOpen
	buf      [2][]byte // of each direction, what is no whole value yet
	last     uint64    // the number of the last command
	waiting  []uint64  // the numbers of those without a reply
}

type protocol int

const (
	unknown protocol = iota
	http             // or whatever the HTTP decoder says
	redis
	damaged // Redis that can't be followed any more
)

// Limits on what a connection can make the stage remember.
const (
	maxWaiting = 10_000 // commands of a pipeline
	maxHeld    = 64     // records before the first data
)

func (c *conn) record(r *bus.Record, emit func(*bus.Record)) {
	c.emit = emit
	switch {
	case c.protocol == http:
		c.http.Process(r, emit)
	case c.protocol == unknown && r.Type == bus.Data && r.Dir == bus.ClientToServer && len(r.Payload) > 0 && r.Payload[0] == '*':
		c.begin(r.Time)
		c.data(r)
	case c.protocol == unknown && (r.Type == bus.Data || r.Type == bus.End || len(c.held) == maxHeld):
		c.leave()
		c.http.Process(r, emit)
	case c.protocol == unknown:
		c.hold(r)
	case r.Type == bus.Data:
		c.data(r)
	case r.Type == bus.Gap:
		c.giveUp(r.Time, bus.VerdictDamaged, "packets are missing from the capture")
	case r.Type == bus.End:
		var e bus.ConnEnd
		json.Unmarshal(r.Payload, &e)
		c.end(r.Time, e, emit)
	}
}

// hold keeps a copy: a record is valid only while it is processed.
func (c *conn) hold(r *bus.Record) {
	k := *r
	k.Payload = slices.Clone(r.Payload)
	c.held = append(c.held, k)
}

// leave hands the connection over to the HTTP decoder.
func (c *conn) leave() {
	for i := range c.held {
		c.http.Process(&c.held[i], c.emit)
	}
	c.protocol, c.held = http, nil
}

func (c *conn) end(t int64, e bus.ConnEnd, emit func(*bus.Record)) {
	c.emit = emit
	switch c.protocol {
	case unknown:
		c.leave() // and its end is that of the HTTP decoder's input
	case redis, damaged:
		for _, stream := range c.waiting {
			c.event(&bus.Event{Type: bus.EventFailed, Time: t, Stream: stream,
				Failure: &bus.Failure{Code: "fin-mid-body", Reason: "the connection ended before the reply"}})
		}
		c.event(&bus.Event{Type: bus.EventClosed, Time: t, Closed: &e})
	}
}

// begin announces the connection; what was held told nothing that is needed.
func (c *conn) begin(t int64) {
	c.protocol = redis
	json.Unmarshal(c.held[0].Payload, &c.open)
	facts := &bus.Connection{Flow: c.open.Flow, Partial: c.open.Partial, Opened: c.held[0].Time, Protocol: "redis"}
	for _, r := range c.held {
		switch r.Type {
		case bus.Established:
			facts.Established = r.Time
		case bus.Info:
			json.Unmarshal(r.Payload, &facts.TLS)
		}
	}
	c.held = nil
	c.event(&bus.Event{Type: bus.EventConnection, Time: t, Connection: facts})
}

func (c *conn) data(r *bus.Record) {
	if c.protocol == damaged {
		return
	}
	c.buf[r.Dir] = append(c.buf[r.Dir], r.Payload...)
	for len(c.buf[r.Dir]) > 0 {
		v, n, err := parse(c.buf[r.Dir])
		if err == errMore {
			return
		}
		if err != nil {
			c.giveUp(r.Time, bus.VerdictNotHTTP, "it is not the Redis protocol: "+err.Error())
			return
		}
		c.buf[r.Dir] = c.buf[r.Dir][n:]
		if r.Dir == bus.ClientToServer {
			c.command(v, r.Time)
		} else {
			c.reply(v, r.Time)
		}
		if c.protocol == damaged {
			return
		}
	}
}

func (c *conn) command(v value, t int64) {
	if len(v.items) == 0 || len(c.waiting) == maxWaiting {
		c.giveUp(t, bus.VerdictNotHTTP, "it is not the Redis protocol: no command, or too many at once")
		return
	}
	c.last++
	c.waiting = append(c.waiting, c.last)
	url := "redis://" + c.open.Server.String() + "/"
	if len(v.items) > 1 {
		url += v.items[1].String()
	}
	c.event(&bus.Event{Type: bus.EventRequest, Time: t, Stream: c.last, Request: &bus.Request{
		Method: strings.ToUpper(v.items[0].String()), URL: url, Target: url, Proto: "redis", Headers: []bus.Field{}, HeadEnd: t}})
	c.body(bus.ClientToServer, c.last, v.String(), t)
}

func (c *conn) reply(v value, t int64) {
	if len(c.waiting) == 0 {
		c.giveUp(t, bus.VerdictNotHTTP, "the server sends what nobody asked for, as subscriptions do")
		return
	}
	stream := c.waiting[0]
	c.waiting = c.waiting[1:]
	status := 200
	if v.kind == '-' {
		status = 500
	}
	c.event(&bus.Event{Type: bus.EventResponse, Time: t, Stream: stream, Dir: bus.ServerToClient, Response: &bus.Response{
		Status: status, Proto: "redis", Headers: []bus.Field{{Name: "content-type", Value: "text/plain"}}, HeadEnd: t}})
	c.body(bus.ServerToClient, stream, v.String(), t)
}

// body gives a whole message body and ends its direction.
func (c *conn) body(dir bus.Dir, stream uint64, text string, t int64) {
	n := uint64(len(text))
	c.emit(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Dir: dir, Conn: c.id, Stream: stream, Time: t, Payload: []byte(text)})
	c.event(&bus.Event{Type: bus.EventData, Time: t, Stream: stream, Dir: dir, Data: &bus.BodyData{Decoded: n, Wire: n}})
	c.event(&bus.Event{Type: bus.EventEnd, Time: t, Stream: stream, Dir: dir, End: &bus.MessageEnd{Decoded: n, Wire: n}})
}

func (c *conn) giveUp(t int64, code bus.VerdictCode, why string) {
	if c.protocol != damaged {
		c.protocol, c.buf = damaged, [2][]byte{}
		c.event(&bus.Event{Type: bus.EventVerdict, Time: t, Verdict: &bus.Verdict{Code: code, Reason: why}})
	}
}

func (c *conn) event(e *bus.Event) {
	e.Conn = c.id
	c.emit(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Dir: e.Dir, Conn: c.id, Stream: e.Stream, Time: e.Time, Event: e})
}
