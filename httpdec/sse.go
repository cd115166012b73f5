package httpdec

import (
	"bytes"
	"strings"

	"clipper/bus"
)

// eventStream splits a text/event-stream body into events (WHATWG HTML, section
// 9.2.6, "Interpreting an event stream").
type eventStream struct {
	c      *conn
	stream uint64
	line   []byte
	cut    bool // the line is longer than what is kept
	wasCR  bool
	begun  bool // the byte order mark is behind

	event string
	id    string
	data  []byte
	any   bool // a data field came
	size  uint64
}

func (s *eventStream) write(p []byte, t int64) {
	for len(p) > 0 {
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			s.keep(p)
			s.wasCR = false
			return
		}
		s.keep(p[:i])
		if p[i] == '\n' && s.wasCR && i == 0 { // CR LF is one end of line
			s.wasCR = false
			p = p[1:]
			continue
		}
		s.wasCR = p[i] == '\r'
		p = p[i+1:]
		s.endLine(t)
	}
}

// end drops an event that no empty line ends.
func (s *eventStream) end(int64) *bus.Content { return nil }

func (s *eventStream) keep(p []byte) {
	n := min(len(p), MaxMessage+16-len(s.line))
	s.line = append(s.line, p[:max(n, 0)]...)
	if n < len(p) {
		s.cut = true
		if bytes.HasPrefix(s.line, []byte("data")) {
			s.size += uint64(len(p) - max(n, 0))
		}
	}
}

func (s *eventStream) endLine(t int64) {
	line := s.line
	if !s.begun {
		s.begun = true
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "":
		if len(line) == 0 {
			s.dispatch(t)
		}
	case "data":
		if s.any {
			value = append([]byte{'\n'}, value...)
		}
		s.any = true
		s.size += uint64(len(value))
		s.data = append(s.data, value[:min(len(value), MaxMessage-len(s.data))]...)
	case "event":
		s.event = wholeText(value, s.cut)
	case "id":
		if !bytes.ContainsRune(value, 0) {
			s.id = wholeText(value, s.cut)
		}
	}
	s.line, s.cut = s.line[:0], false
	if cap(s.line) > 4096 {
		s.line = nil
	}
}

func (s *eventStream) dispatch(t int64) {
	if s.any {
		cut := s.size > uint64(len(s.data))
		s.c.message(s.stream, bus.ServerToClient, t, &bus.Message{Kind: "sse", Event: s.event, ID: s.id,
			Text: wholeText(s.data, cut), Size: s.size, Cut: cut})
	}
	s.event, s.any, s.size, s.data = "", false, 0, s.data[:0]
	if cap(s.data) > 4096 {
		s.data = nil
	}
}

// mediaType is the type of a Content-Type value, without parameters, lower case.
func mediaType(v string) string {
	v, _, _ = strings.Cut(v, ";")
	return strings.ToLower(strings.TrimSpace(v))
}
