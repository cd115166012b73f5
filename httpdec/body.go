package httpdec

import (
	"strconv"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/coding"
	"clipper/httpdec/internal/snapshot"
)

// A body that grows beyond MaxDecoded bytes must not be larger than MaxRatio
// times what it took on the wire: the rest of such a body is not decoded.
const (
	MaxDecoded = 64 << 20
	MaxRatio   = 100
)

// body is the content of one direction of an exchange on its way to the Body
// layer.
type body struct {
	c        *conn
	stream   uint64
	dir      bus.Dir
	dec      coding.Decoder // nil: the bytes as they are
	window   int            // bytes that count in conn.windows
	stopped  bool           // nothing more is decoded
	lead     []byte         // the first bytes, in case they are not in the coding
	leadPast bool
	length   int64 // of the content as its head says; -1: it does not
	doubtful bool  // unless it has that length, a part may be lost
	wire     uint64
	decoded  uint64
	problem  string
	content  splitter     // also gets what is decoded; nil: none
	kind     *bus.Content // by its type; shared
	origin

	// Not announced yet.
	pendWire, pendFrom uint64
	time               int64
	dirty              bool
	ended              bool
}

// origin is what a body knows of the beginning of its exchange.
type origin struct {
	target string     // of the request
	began  int64      // first byte of the request
	losses bus.Losses // of the connection until then
}

// splitter makes messages of the content of a body.
type splitter interface {
	write(p []byte, t int64)
	// end takes the end of the whole content. It says what that is, or nil.
	end(t int64) *bus.Content
	snapshot(*snapshot.State)
}

// start prepares for the content that the fields describe.
func (b *body) start(c *conn, stream uint64, dir bus.Dir, fields []bus.Field, o origin) {
	*b = body{c: c, stream: stream, dir: dir, length: -1, origin: o}
	if dir == bus.ClientToServer {
		b.query(o.target)
	}
	for i := range fields {
		switch f := &fields[i]; {
		case len(f.Name) == 16 && strings.EqualFold(f.Name, "content-encoding") && b.dec == nil:
			b.encoded(fields[i:])
		case len(f.Name) == 12 && strings.EqualFold(f.Name, "content-type"):
			b.split(f.Value, fields)
		case len(f.Name) == 14 && strings.EqualFold(f.Name, "content-length"):
			if n, err := strconv.ParseInt(f.Value, 10, 64); err == nil {
				b.length = n
			}
		}
	}
}

func (b *body) encoded(fields []bus.Field) {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, "content-encoding") {
			values = append(values, f.Value)
		}
	}
	codings := coding.Split(values...)
	dec, unknown := coding.New(codings)
	if unknown != "" {
		b.note("content coding not known: " + unknown)
	}
	b.dec = dec
}

// note adds a problem; the first ones are kept.
func (b *body) note(problem string) {
	switch {
	case problem == "" || strings.Contains(b.problem, problem) || len(b.problem) > 512:
	case b.problem == "":
		b.problem = problem
	default:
		b.problem += "; " + problem
	}
}

// write takes content as it was on the wire, without framing.
func (b *body) write(p []byte, t int64) {
	if len(p) == 0 {
		return
	}
	b.touch(t)
	b.wire += uint64(len(p))
	b.pendWire += uint64(len(p))
	if b.dec == nil {
		b.pass(p)
		return
	}
	if n := len(b.lead); n < maxLead && b.decoded == 0 {
		k := min(maxLead-n, len(p))
		b.lead = append(b.lead, p[:k]...)
		b.decode(p[:k])
		p = p[k:]
	}
	if len(p) > 0 {
		b.leadPast = true
		b.decode(p)
	}
}

func (b *body) decode(p []byte) {
	switch {
	case b.stopped || len(p) == 0:
		return
	case b.dec == nil:
		b.pass(p)
		return
	}
	err := b.dec.Write(p, b.pass)
	if b.stopped {
		b.closeDecoder()
		return
	}
	if err == nil {
		b.charge()
		return
	}
	b.note(err.Error())
	if err == coding.ErrFormat && !b.leadPast && b.decoded == 0 {
		b.closeDecoder()
		b.pass(b.lead) // not in its coding at all: shown as it is
		b.lead = nil
		return
	}
	b.stop()
}

// charge counts the memory of the decoder.
func (b *body) charge() {
	n := b.dec.Window()
	b.c.windows += n - b.window
	if b.window = n; n > 0 && b.c.windows > MaxWindows {
		b.note("decoding stopped: the bodies that are open need windows of more than 64 MiB")
		b.stop()
	}
}

// stop ends the decoding before its time.
func (b *body) stop() {
	b.stopped = true
	b.closeDecoder()
}

// skip accounts for bytes that were not captured.
func (b *body) skip(n uint64, t int64) {
	b.touch(t)
	b.wire += n
	b.pendWire += n
	b.note("bytes of the body were not captured")
	b.content = nil // where the next message begins is not known
	switch {
	case b.stopped:
	case b.dec == nil:
		b.decoded += n
	default:
		b.stop()
	}
}

// doubt says that a part of what comes may be lost.
func (b *body) doubt() {
	b.doubtful = true
	b.content = nil
}

func (b *body) touch(t int64) {
	b.time = t
	if !b.dirty {
		b.dirty, b.pendFrom, b.pendWire = true, b.decoded, 0
		b.c.dirty = append(b.c.dirty, b)
	}
}

// pass puts decoded bytes on the Body layer.
func (b *body) pass(p []byte) {
	if b.stopped || len(p) == 0 {
		return
	}
	if b.dec != nil && b.decoded > MaxDecoded && b.decoded > MaxRatio*b.wire {
		b.note("decoding stopped: the body decodes to more than 100 times its size and 64 MiB")
		b.stopped = true
		return
	}
	s := b.c.s
	for off := 0; off < len(p); off += maxBodyRecord {
		part := p[off:min(len(p), off+maxBodyRecord)]
		s.out = bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Dir: b.dir, Conn: b.c.id, Stream: b.stream,
			Offset: b.decoded, Time: b.time, Payload: part}
		b.decoded += uint64(len(part))
		s.emit(&s.out)
	}
	if b.content != nil {
		b.content.write(p, b.time)
	}
}

// maxLead is within how many bytes a body must show that it is not encoded as
// its head says, to be shown as it is.
const maxLead = 64

// maxBodyRecord keeps a Body record well inside one batch of the bus.
const maxBodyRecord = 512 << 10

// announce emits the data event of what came since the last.
func (b *body) announce() {
	if !b.dirty {
		return
	}
	b.dirty = false
	e := &struct {
		bus.Event
		bus.BodyData
	}{
		bus.Event{Type: bus.EventData, Time: b.time, Stream: b.stream, Dir: b.dir},
		bus.BodyData{Offset: b.pendFrom, Decoded: b.decoded - b.pendFrom, Wire: b.pendWire},
	}
	e.Event.Data = &e.BodyData
	b.c.event(&e.Event)
}

func (b *body) closeDecoder() error {
	if b.dec == nil {
		return nil
	}
	err := b.dec.Close(b.pass)
	b.dec = nil
	b.c.windows -= b.window
	b.window = 0
	return err
}

// finish ends the content; complete says that the framing saw its end.
func (b *body) finish(t int64, complete bool) {
	if b.dec != nil && b.wire > 0 {
		b.touch(t)
		if err := b.closeDecoder(); err != nil && complete && !b.stopped {
			b.note(err.Error())
		}
	}
	b.closeDecoder()
	if b.dirty {
		b.announce()
		b.c.undirty(b)
	}
}

// end finishes the content in order and emits the end event.
func (b *body) end(t int64, trailers []bus.Field) {
	if b.ended {
		return
	}
	if b.doubtful && b.length != int64(b.wire) {
		b.note("frames of the connection were not captured: bytes of the body may be missing")
	}
	b.finish(t, true)
	b.ended = true
	what := b.kind
	if b.content != nil {
		if c := b.content.end(t); c != nil {
			what = c
		}
		b.content = nil
	}
	if b.wire == 0 && what != nil && what.Kind != "graphql" {
		what = nil
	}
	var losses *bus.Losses
	if b.dir == bus.ServerToClient {
		losses = b.c.lossesSince(b.origin.losses)
	}
	e := &struct {
		bus.Event
		bus.MessageEnd
	}{
		bus.Event{Type: bus.EventEnd, Time: t, Stream: b.stream, Dir: b.dir},
		bus.MessageEnd{Wire: b.wire, Decoded: b.decoded, Trailers: trailers, Problem: b.problem, Content: what, Losses: losses},
	}
	e.Event.End = &e.MessageEnd
	b.c.event(&e.Event)
}
