package httpdec

import (
	"encoding/binary"
	"fmt"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/coding"
	"clipper/httpdec/internal/websocket"
)

// MaxMessage is how many bytes of a message its event holds; Size tells how many
// there were.
const MaxMessage = 64 << 10

// maxInflated is up to what size a WebSocket message is decompressed.
const maxInflated = 64 << 20

// webSocket turns the frames of a WebSocket (RFC 6455) into message events:
// one for each message, whatever its fragments, and for each control frame.
type webSocket struct {
	c      *conn
	stream uint64
	sides  [2]webSocketSide
	closed [2]bool // a close frame was seen
}

type webSocketSide struct {
	head   []byte
	frame  websocket.Header
	offset uint64 // in the payload
	inside bool   // of a frame
	lost   bool

	message message // being assembled from fragments
	control message
	deflate *coding.Messages // when permessage-deflate is in use
	unmask  []byte
}

// message is a message that is being received.
type message struct {
	open       bool
	opcode     int
	masked     bool
	compressed bool
	size       uint64 // of the payload, decompressed
	data       []byte
	problem    string
}

// newWebSocket starts after a handshake whose response has these fields.
func newWebSocket(c *conn, stream uint64, response []bus.Field) *webSocket {
	w := &webSocket{c: c, stream: stream}
	extensions := strings.ToLower(field(response, "sec-websocket-extensions"))
	if strings.Contains(extensions, "permessage-deflate") {
		w.sides[0].deflate = coding.NewMessages(!strings.Contains(extensions, "client_no_context_takeover"))
		w.sides[1].deflate = coding.NewMessages(!strings.Contains(extensions, "server_no_context_takeover"))
	}
	return w
}

func (w *webSocket) data(dir bus.Dir, p []byte, t int64) {
	s := &w.sides[dir]
	for len(p) > 0 && !s.lost {
		if !s.inside {
			was := len(s.head)
			s.head = append(s.head, p[:min(len(p), websocket.MaxHeader-was)]...)
			h, n := websocket.ParseHeader(s.head)
			if n == 0 {
				return
			}
			s.head = s.head[:0]
			p = p[n-was:]
			s.frame, s.offset, s.inside = h, 0, true
			w.begin(s)
		}
		k := min(uint64(len(p)), s.frame.Length-s.offset)
		if k > 0 {
			w.payload(s, p[:k])
			p = p[k:]
		}
		if s.offset == s.frame.Length {
			s.inside = false
			w.end(s, dir, t)
		}
	}
}

// begin starts a frame.
func (w *webSocket) begin(s *webSocketSide) {
	f := &s.frame
	if f.IsControl() {
		s.control = message{open: true, opcode: f.Opcode, masked: f.Masked}
		if f.Length > 125 || !f.Fin {
			s.control.note("control frame that is too long or in fragments")
		}
		return
	}
	m := &s.message
	switch {
	case f.Opcode == websocket.Continuation && !m.open:
		*m = message{open: true, opcode: websocket.Binary, masked: f.Masked, problem: "continuation without a beginning"}
	case f.Opcode != websocket.Continuation:
		before := m.open
		*m = message{open: true, opcode: f.Opcode, masked: f.Masked, compressed: f.RSV&4 != 0 && s.deflate != nil, data: m.data[:0]}
		if before {
			m.note("the message before did not end")
		}
		if f.Opcode > websocket.Binary {
			m.note("reserved opcode")
		}
		if f.RSV&3 != 0 || f.RSV&4 != 0 && s.deflate == nil {
			m.note("reserved bits without an extension")
		}
	}
}

func (w *webSocket) payload(s *webSocketSide, p []byte) {
	if s.frame.Masked {
		if cap(s.unmask) < len(p) {
			s.unmask = make([]byte, max(len(p), 1024))
		}
		dst := s.unmask[:len(p)]
		s.frame.Unmask(dst, p, s.offset)
		p = dst
	}
	s.offset += uint64(len(p))
	switch {
	case s.frame.IsControl():
		s.control.add(p)
	case s.message.compressed && s.message.problem == "":
		if err := s.deflate.Write(p, s.message.add); err != nil {
			s.message.note(err.Error())
		} else if s.message.size > maxInflated {
			s.message.note("decompressing stopped at 64 MiB")
		}
	case s.message.compressed:
	default:
		s.message.add(p)
	}
}

func (m *message) add(p []byte) {
	m.size += uint64(len(p))
	if n := min(len(p), MaxMessage-len(m.data)); n > 0 {
		m.data = append(m.data, p[:n]...)
	}
}

func (m *message) note(problem string) {
	if m.problem == "" {
		m.problem = problem
	}
}

// end ends a frame, and the message with the last one.
func (w *webSocket) end(s *webSocketSide, dir bus.Dir, t int64) {
	if s.frame.IsControl() {
		if s.frame.Opcode == websocket.Close {
			w.closed[dir] = true
		}
		w.emit(&s.control, dir, t)
		return
	}
	if !s.frame.Fin {
		return
	}
	m := &s.message
	if m.compressed {
		if err := s.deflate.End(m.add); err != nil {
			m.note(err.Error())
		}
	}
	w.emit(m, dir, t)
	data := m.data
	if cap(data) > 4096 {
		data = nil
	}
	*m = message{data: data}
	if cap(s.unmask) > 16<<10 {
		s.unmask = nil
	}
}

func (w *webSocket) emit(m *message, dir bus.Dir, t int64) {
	e := &bus.Message{Kind: "websocket", Opcode: m.opcode, Masked: m.masked, Size: m.size, Cut: m.size > uint64(len(m.data)), Problem: m.problem}
	switch m.opcode {
	case websocket.Text:
		e.Text = wholeText(m.data, e.Cut)
	case websocket.Close:
		e.Text = closeText(m.data)
	default:
		e.Binary = append([]byte(nil), m.data...)
	}
	w.c.message(w.stream, dir, t, e)
}

// message emits a message event; data that came with it is announced before.
func (c *conn) message(stream uint64, dir bus.Dir, t int64, m *bus.Message) {
	c.event(&bus.Event{Type: bus.EventMessage, Time: t, Stream: stream, Dir: dir, Message: m})
}

// wholeText makes text of bytes that may be cut inside a character.
func wholeText(b []byte, cut bool) string {
	for n := 1; cut && n < 4 && n <= len(b); n++ {
		if c := b[len(b)-n]; c >= 0xc0 {
			b = b[:len(b)-n]
			break
		} else if c < 0x80 {
			break
		}
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// closeText is the code and the reason of a close frame (RFC 6455, section 7.4).
func closeText(b []byte) string {
	if len(b) < 2 {
		return ""
	}
	code := binary.BigEndian.Uint16(b)
	s := fmt.Sprint(code)
	if name := closeCodes[code]; name != "" {
		s += " (" + name + ")"
	}
	if len(b) > 2 {
		s += " " + wholeText(b[2:], false)
	}
	return s
}

var closeCodes = map[uint16]string{
	1000: "normal closure", 1001: "going away", 1002: "protocol error", 1003: "unsupported data", 1005: "no status",
	1006: "abnormal closure", 1007: "invalid payload data", 1008: "policy violation", 1009: "message too big",
	1010: "mandatory extension", 1011: "internal error", 1012: "service restart", 1013: "try again later", 1014: "bad gateway", 1015: "TLS handshake",
}

// gap accounts for lost bytes: inside a payload they only damage the message.
func (w *webSocket) gap(dir bus.Dir, n uint64, t int64) {
	s := &w.sides[dir]
	m := &s.message
	if s.frame.IsControl() {
		m = &s.control
	}
	if s.inside && n <= s.frame.Length-s.offset {
		s.offset += n
		m.size += n
		m.note("bytes of the message were not captured")
		if m.compressed {
			s.deflate = nil // what refers to it can't be read
		}
		if s.offset == s.frame.Length {
			s.inside = false
			m.compressed = false
			w.end(s, dir, t)
		}
		return
	}
	if !s.lost {
		w.lose(dir)
		w.c.message(w.stream, dir, t, &bus.Message{Kind: "websocket", Problem: "bytes were not captured: the messages that follow can't be told apart"})
	}
}

// lose says that where the next frame of a direction begins is not known.
func (w *webSocket) lose(dir bus.Dir) { w.sides[dir].lost = true }

// release frees what the decompression holds.
func (w *webSocket) release() {
	for i := range w.sides {
		if d := w.sides[i].deflate; d != nil {
			d.Release()
		}
	}
}
