package httpdec

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"clipper/bus"
	"clipper/httpdec/internal/http1"
)

// http1Conn decodes HTTP/0.9 to HTTP/1.1.
type http1Conn struct {
	c        *conn
	count    uint64
	answered uint64 // responses that began
	req      messageReader
	resp     messageReader
	waiting  []*exchange1 // whose response has not ended, oldest first
}

// exchange1 is a request and its response.
type exchange1 struct {
	stream uint64
	origin
	method   string
	version  string
	upgrade  bool // the request asks for another protocol
	reqDone  bool
	reqEnd   *requestEnd // its end event, held until the answer to upgrade
	respHead bool        // the final response has begun
	respDone bool
	failed   bool
	headless bool // the response has no head, as in HTTP/0.9
	reqBody  body
	respBody body
}

// requestEnd is an end that is not told yet: after a 101 response, the request
// goes on.
type requestEnd struct {
	time     int64
	trailers []bus.Field
}

// messageReader reads the messages of one direction.
type messageReader struct {
	state    readState
	head     []byte // so far
	resume   int    // where to look on for its end
	lineSeen bool   // its first line is whole
	start    int64  // time of its first byte
	x        *exchange1
	left     uint64 // of a body by Content-Length
	chunked  http1.Chunked
}

type readState uint8

const (
	readHead readState = iota
	readLength
	readChunked
	readToClose
	readLost // bytes are missing: where the next message begins is not known
	readDead // malformed: nothing that follows can be trusted
)

func newHTTP1(c *conn) *http1Conn { return &http1Conn{c: c} }

func (h *http1Conn) reader(dir bus.Dir) *messageReader {
	if dir == bus.ClientToServer {
		return &h.req
	}
	return &h.resp
}

func (h *http1Conn) data(dir bus.Dir, p []byte, t int64, force bool) (n int) {
	m := h.reader(dir)
	for n < len(p) && h.c.proto == protocol(h) {
		if m.state == readHead && len(m.head) == 0 && h.mustWait(dir, p[n:], force) {
			break
		}
		k := h.step(m, dir, p[n:], t)
		if k < 0 {
			return len(p)
		}
		if n += k; m.state != readHead || len(m.head) == 0 {
			if h.c.waits(dir) {
				break
			}
		}
	}
	return n
}

// mustWait reports whether the next message of dir can't be read before the
// other direction has gone on.
func (h *http1Conn) mustWait(dir bus.Dir, p []byte, force bool) bool {
	if force {
		return false
	}
	if dir == bus.ServerToClient {
		return len(h.waiting) == 0 && !h.c.facts.Partial
	}
	if len(h.waiting) == 0 {
		return false
	}
	if len(h.waiting) >= MaxPipelined {
		return true
	}
	last := h.waiting[len(h.waiting)-1]
	return last.upgrade && !last.respHead
}

// step consumes some of p, which is not empty; -1 is all.
func (h *http1Conn) step(m *messageReader, dir bus.Dir, p []byte, t int64) int {
	switch m.state {
	case readHead:
		return h.readHead(m, dir, p, t)
	case readLength:
		k := int(min(uint64(len(p)), m.left))
		h.content(m, dir).write(p[:k], t)
		if m.left -= uint64(k); m.left == 0 {
			h.messageEnd(m, dir, t, nil)
		}
		return k
	case readChunked:
		data, k, err := m.chunked.Next(p)
		b := h.content(m, dir)
		b.write(data, t)
		if err != nil {
			b.note(err.Error())
			if x := m.x; dir == bus.ClientToServer { // the server answers even so
				h.messageEnd(m, dir, t, nil)
				x.tellRequestEnd()
			} else {
				h.fail(x, bus.Failure{Code: "malformed-body", Reason: "the response body: " + err.Error()}, t)
			}
			m.lose(readDead)
			return -1
		}
		if m.chunked.Done() {
			b.note(m.chunked.Problem)
			trailers := m.chunked.Trailers
			m.chunked = http1.Chunked{}
			h.messageEnd(m, dir, t, trailers)
		}
		return k
	case readToClose:
		h.content(m, dir).write(p, t)
		return -1
	case readLost:
		if !looksLikeHead(dir, p) {
			return -1
		}
		m.state = readHead
		return 0
	}
	return -1
}

func messageName(dir bus.Dir) string {
	if dir == bus.ClientToServer {
		return "request"
	}
	return "response"
}

func looksLikeHead(dir bus.Dir, p []byte) bool {
	if dir == bus.ServerToClient {
		return len(p) >= 12 && http1.IsVersion(string(p[:8]))
	}
	method, _, ok := strings.Cut(string(p[:min(len(p), 16)]), " ")
	return ok && knownMethod(method)
}

func (h *http1Conn) content(m *messageReader, dir bus.Dir) *body {
	if dir == bus.ClientToServer {
		return &m.x.reqBody
	}
	return &m.x.respBody
}

func (m *messageReader) lose(s readState) {
	m.state, m.x, m.head, m.chunked = s, nil, nil, http1.Chunked{}
}

// readHead collects a head and acts on it.
func (h *http1Conn) readHead(m *messageReader, dir bus.Dir, p []byte, t int64) int {
	if len(m.head) == 0 {
		if k := http1.BlankPrefix(p); k > 0 {
			return k
		}
		m.start, m.resume, m.lineSeen = t, 0, false
		if dir == bus.ServerToClient && p[0] != 'H' && h.answered == 0 && len(h.waiting) > 0 && !h.c.facts.Partial && !h.simple() {
			h.waiting[0].version, h.waiting[0].headless = "", true
			h.waiting[0].respBody.note("the response has no head")
		}
		if dir == bus.ServerToClient && h.simple() {
			return h.readSimple(m, p, t)
		}
		if n, _ := m.headEnd(dir, p, 0); n > 0 && n <= MaxHead {
			h.head(m, dir, p[:n], t)
			return n
		}
		m.lineSeen = false
	}
	if dir == bus.ServerToClient && h.simple() && len(m.head) < len(statusStart) {
		return h.readSimple(m, p, t)
	}
	was := len(m.head)
	m.head = append(m.head, p[:min(len(p), MaxHead+1-was)]...)
	n, resume := m.headEnd(dir, m.head, m.resume)
	m.resume = resume
	switch {
	case n > 0 && n <= MaxHead:
		head := m.head[:n]
		m.head = m.head[:0]
		h.head(m, dir, head, t)
		if cap(m.head) > 16<<10 {
			m.head = nil
		}
		return n - was
	case len(m.head) > MaxHead:
		h.badHead(m, dir, m.head[:512], "head of more than 256 KiB", t)
		return -1
	}
	return len(p)
}

// headEnd finds the end of a head. That of an HTTP/0.9 request is its line.
func (m *messageReader) headEnd(dir bus.Dir, b []byte, from int) (n, resume int) {
	if dir == bus.ClientToServer && !m.lineSeen {
		if lf := indexLF(b); lf >= 0 {
			m.lineSeen = true
			if simpleRequest(b[:lf]) {
				return lf + 1, 0
			}
		}
	}
	return http1.HeadEnd(b, from)
}

func simpleRequest(line []byte) bool {
	line = bytes.TrimRight(line, "\r \t")
	if n := len(line) - 8; n < 0 || string(line[n:n+5]) != "HTTP/" {
		r, err := http1.ParseRequestLine(string(line))
		return err == nil && r.Version == ""
	}
	return false
}

const statusStart = "HTTP/1."

// readSimple reads the response to an HTTP/0.9 request: all until the end is its
// body, unless it begins with a status line.
func (h *http1Conn) readSimple(m *messageReader, p []byte, t int64) int {
	was := len(m.head)
	k := min(len(p), len(statusStart)-was)
	m.head = append(m.head, p[:k]...)
	switch {
	case !hasPrefix(m.head, statusStart):
		h.simpleResponse(m, t)
	case len(m.head) == len(statusStart):
		h.waiting[0].version = "HTTP/1.0"
	}
	return k
}

// simple reports whether the next response is that of an HTTP/0.9 request.
func (h *http1Conn) simple() bool { return len(h.waiting) > 0 && h.waiting[0].version == "" }

// head acts on a complete head. b may alias m.head and is only valid now.
func (h *http1Conn) head(m *messageReader, dir bus.Dir, b []byte, t int64) {
	raw := text(b)
	line, rest := http1.SplitHead(raw)
	if dir == bus.ClientToServer {
		if r, err := http1.ParseRequestLine(line); err == nil {
			h.request(m, r, raw, rest, len(b), t, true)
			return
		}
		if !h.c.facts.Partial && len(line) < 8<<10 && line != "" && isText([]byte(line)) {
			h.oddRequest(m, line, raw, rest, len(b), t)
			return
		}
	} else if s, err := http1.ParseStatusLine(line); err == nil {
		h.response(m, s, raw, rest, len(b), t)
		return
	}
	h.badHead(m, dir, b, "start line that is not HTTP", t)
}

// text makes a string of wire bytes; what is not UTF-8 is taken for ISO 8859-1,
// as browsers do.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + len(b)/8)
	for _, c := range b {
		s.WriteRune(rune(c))
	}
	return s.String()
}

type requestEvent struct {
	bus.Event
	bus.Request
}

type responseEvent struct {
	bus.Event
	bus.Response
}

func (h *http1Conn) request(m *messageReader, r http1.RequestLine, raw, rest string, size int, t int64, whole bool) {
	c := h.c
	fields, problem := http1.ParseFields(rest)
	h.count++
	x := &exchange1{stream: c.stream(h.count), origin: origin{r.Target, m.start, c.losses}, method: r.Method, version: r.Version}
	if len(h.waiting) >= MaxPipelined {
		h.fail(h.waiting[0], bus.Failure{Code: "limit", Reason: "more than 1024 requests wait for a response"}, t)
	}
	h.waiting = append(h.waiting, x)
	c.setProtocol(protoName(r.Version))
	c.announce(m.start)
	e := &requestEvent{bus.Event{Type: bus.EventRequest, Time: m.start, Stream: x.stream}, bus.Request{
		Method: r.Method, URL: requestURL(c, r.Method, r.Target, fields), Target: r.Target, Proto: protoName(r.Version),
		Headers: fields, HeadersSize: size, Raw: raw, HeadEnd: t,
	}}
	e.Event.Request = &e.Request
	c.event(&e.Event)
	x.reqBody.start(c, x.stream, bus.ClientToServer, fields, x.origin)
	x.reqBody.note(problem)
	if !whole {
		return
	}
	x.upgrade = r.Method == "CONNECT" || hasField(fields, "upgrade")
	framing, length, problem := http1.BodyFraming(fields, true, r.Version)
	if r.Version == "" {
		framing, problem = http1.NoBody, ""
	}
	x.reqBody.note(problem)
	h.frame(m, bus.ClientToServer, x, framing, length, t)
}

// oddRequest shows a request whose first line is not a request-line. What
// follows it can't be told apart, but the server will answer.
func (h *http1Conn) oddRequest(m *messageReader, line, raw, rest string, size int, t int64) {
	method, target, _ := strings.Cut(line, " ")
	h.request(m, http1.RequestLine{Method: method, Target: target, Version: "HTTP/1.0"}, raw, rest, size, t, false)
	if x := h.waiting[len(h.waiting)-1]; !x.failed {
		x.reqBody.note("malformed request line")
		x.reqDone = true
		x.reqBody.end(t, nil)
	}
	m.lose(readDead)
}

// frame prepares to read the body that follows a head.
func (h *http1Conn) frame(m *messageReader, dir bus.Dir, x *exchange1, f http1.Framing, length uint64, t int64) {
	m.x = x
	switch f {
	case http1.NoBody:
		h.messageEnd(m, dir, t, nil)
	case http1.ByLength:
		m.state, m.left = readLength, length
	case http1.ByChunks:
		m.state, m.chunked = readChunked, http1.Chunked{}
	case http1.UntilClose:
		m.state = readToClose
	}
}

func protoName(version string) string {
	switch version {
	case "HTTP/1.1":
		return "http/1.1"
	case "HTTP/1.0":
		return "http/1.0"
	case "":
		return "http/0.9"
	}
	return strings.ToLower(version)
}

func (h *http1Conn) response(m *messageReader, s http1.StatusLine, raw, rest string, size int, t int64) {
	c := h.c
	fields, problem := http1.ParseFields(rest)
	h.answered++
	x := h.current(m.start)
	e := &responseEvent{bus.Event{Type: bus.EventResponse, Time: m.start, Stream: x.stream, Dir: bus.ServerToClient}, bus.Response{
		Status: s.Status, Reason: s.Reason, Proto: protoName(s.Version),
		Headers: fields, HeadersSize: size, Raw: raw, HeadEnd: t,
	}}
	e.Event.Response = &e.Response
	if s.Status >= 100 && s.Status < 200 && s.Status != 101 {
		e.Event.Type = bus.EventInformation
		c.event(&e.Event)
		return
	}
	h2c := s.Status == 101 && strings.EqualFold(field(fields, "upgrade"), "h2c")
	if h2c {
		e.Event.Type = bus.EventInformation // the response comes in HTTP/2
	}
	c.event(&e.Event)
	x.respHead = true
	if s.Status != 101 || h2c {
		x.tellRequestEnd()
	}
	before := x.respBody.problem
	x.respBody.start(c, x.stream, bus.ServerToClient, fields, x.origin)
	x.respBody.note(before)
	x.respBody.note(problem)
	switch {
	case s.Status == 101:
		h.upgraded(x, fields)
		return
	case x.method == "CONNECT" && s.Status >= 200 && s.Status < 300:
		h.tunnelled(m, x, t)
		return
	}
	framing, length, problem := http1.BodyFraming(fields, false, s.Version)
	if x.method == "HEAD" || s.Status == 204 || s.Status == 304 {
		framing, problem = http1.NoBody, ""
	}
	x.respBody.note(problem)
	h.frame(m, bus.ServerToClient, x, framing, length, t)
}

// current is the exchange to which the next response belongs. A response
// without a request, such as 408 on an idle connection, is one of its own.
func (h *http1Conn) current(t int64) *exchange1 {
	if len(h.waiting) > 0 {
		return h.waiting[0]
	}
	if m := &h.req; m.state == readHead && len(m.head) > 0 && h.cutHead(m, t) {
		x := h.waiting[0]
		if !x.reqDone {
			x.reqBody.note("the head of the request did not end")
			x.reqDone = true
			x.reqBody.end(t, nil)
		}
		return x
	}
	h.count++
	x := &exchange1{stream: h.c.stream(h.count), method: "", version: "HTTP/1.1", reqDone: true, origin: origin{losses: h.c.losses}}
	x.respBody.note("response without a request")
	h.waiting = append(h.waiting, x)
	h.c.setProtocol("http/1.1")
	h.c.announce(t)
	return x
}

func (h *http1Conn) simpleResponse(m *messageReader, t int64) {
	h.answered++
	x := h.waiting[0]
	e := &responseEvent{bus.Event{Type: bus.EventResponse, Time: m.start, Stream: x.stream, Dir: bus.ServerToClient},
		bus.Response{Status: 200, Proto: "http/0.9", Headers: []bus.Field{}, HeadEnd: m.start}}
	e.Event.Response = &e.Response
	if x.headless {
		e.Status = 0 // it was not asked for HTTP/0.9: what this is, is not known
	}
	h.c.event(&e.Event)
	x.respHead = true
	problem := x.respBody.problem
	x.respBody.start(h.c, x.stream, bus.ServerToClient, nil, x.origin)
	x.respBody.note(problem)
	x.respBody.write(m.head, m.start)
	m.head = nil
	h.frame(m, bus.ServerToClient, x, http1.UntilClose, 0, t)
}

// messageEnd ends the message that m reads.
func (h *http1Conn) messageEnd(m *messageReader, dir bus.Dir, t int64, trailers []bus.Field) {
	x := m.x
	m.state, m.x = readHead, nil
	if x.failed {
		return
	}
	if dir == bus.ClientToServer {
		x.reqDone = true
		if x.upgrade && x.method != "CONNECT" && !x.respHead {
			x.reqEnd = &requestEnd{t, trailers}
			return
		}
		x.reqBody.end(t, trailers)
		return
	}
	x.respBody.end(t, trailers)
	x.respDone = true
	h.pop(x)
}

// tellRequestEnd emits the end that was held.
func (x *exchange1) tellRequestEnd() {
	if e := x.reqEnd; e != nil {
		x.reqEnd = nil
		x.reqBody.end(e.time, e.trailers)
	}
}

func (h *http1Conn) pop(x *exchange1) {
	for i, w := range h.waiting {
		if w == x {
			copy(h.waiting[i:], h.waiting[i+1:])
			h.waiting[len(h.waiting)-1] = nil
			h.waiting = h.waiting[:len(h.waiting)-1]
			return
		}
	}
}

// fail ends an exchange. If the response is there, only the request is cut.
func (h *http1Conn) fail(x *exchange1, f bus.Failure, t int64) {
	if x == nil || x.failed || (x.reqDone && x.respDone) {
		return
	}
	if x.respDone {
		x.reqBody.note("the request did not end: " + f.Reason)
		x.reqBody.end(t, nil)
		x.reqDone = true
		return
	}
	x.failed = true
	if !x.reqDone {
		x.reqBody.finish(t, false)
	}
	if x.respHead {
		x.respBody.finish(t, false)
	}
	f.Losses = h.c.lossesSince(x.losses)
	h.c.event(&bus.Event{Type: bus.EventFailed, Time: t, Stream: x.stream, Failure: &f})
	h.pop(x)
}

// badHead is a message that can't be read: its exchange fails, and the
// direction is not followed any further, unless it was never whole.
func (h *http1Conn) badHead(m *messageReader, dir bus.Dir, b []byte, what string, t int64) {
	f := bus.Failure{Code: "malformed-" + messageName(dir), Reason: "the " + messageName(dir) + " has a " + what}
	if dir == bus.ServerToClient && len(h.waiting) > 0 {
		h.fail(h.waiting[0], f, t)
	} else if h.count == 0 {
		h.c.emitVerdict(bus.Verdict{Code: bus.VerdictNotHTTP, Reason: "the connection began like HTTP, but " + f.Reason}, t)
	} else {
		h.c.emitVerdict(bus.Verdict{Code: bus.VerdictNotHTTP, Reason: "after " + plural(h.count, "exchange") + ", " + f.Reason}, t)
	}
	if h.c.facts.Partial {
		m.lose(readLost)
	} else {
		m.lose(readDead)
	}
}

func (h *http1Conn) gap(dir bus.Dir, n uint64, t int64) {
	m := h.reader(dir)
	switch {
	case m.state == readLength && n <= m.left:
		h.content(m, dir).skip(n, t)
		if m.left -= n; m.left == 0 {
			h.messageEnd(m, dir, t, nil)
		}
	case m.state == readToClose:
		h.content(m, dir).skip(n, t)
	case m.state == readChunked && m.chunked.Skip(n):
		h.content(m, dir).skip(n, t)
	case m.state == readLost, m.state == readDead:
	default:
		f := bus.Failure{Code: "gap", Reason: "bytes of the connection were not captured"}
		if m.x != nil {
			h.fail(m.x, f, t)
		}
		if dir == bus.ServerToClient {
			for len(h.waiting) > 0 {
				h.fail(h.waiting[0], f, t)
			}
		}
		m.lose(readLost)
	}
}

func (h *http1Conn) fin(dir bus.Dir, t int64) {
	m := h.reader(dir)
	who := side(dir)
	switch m.state {
	case readToClose:
		h.messageEnd(m, dir, t, nil)
	case readLength, readChunked:
		f := bus.Failure{Code: "fin-mid-body", Reason: "the " + who + " closed the connection in the middle of the " + messageName(dir) + " body"}
		if dir == bus.ServerToClient && h.c.closer == int(bus.ClientToServer) {
			f = closedBy(bus.ClientToServer)
		}
		h.fail(m.x, f, t)
	case readHead:
		if len(m.head) > 0 && dir == bus.ClientToServer && h.cutHead(m, t) {
			h.fail(h.waiting[len(h.waiting)-1], bus.Failure{Code: "fin-mid-head", Reason: "the client closed the connection in the middle of the request head"}, t)
		}
	}
	if dir == bus.ServerToClient {
		if m.state == readHead && len(m.head) > 0 && h.simple() { // shorter than a status line
			h.simpleResponse(m, t)
			h.messageEnd(m, dir, t, nil)
		}
		for len(h.waiting) > 0 {
			reason := "the server closed the connection without a response"
			if len(m.head) > 0 {
				reason = "the server closed the connection in the middle of the response head"
			}
			f := bus.Failure{Code: "fin-before-response", Reason: reason}
			if h.c.closer == int(bus.ClientToServer) {
				f = closedBy(bus.ClientToServer)
			}
			h.fail(h.waiting[0], f, t)
		}
	}
	m.lose(readDead)
}

// cutHead shows a request of which only the beginning was sent; its exchange is
// the last one that waits.
func (h *http1Conn) cutHead(m *messageReader, t int64) (shown bool) {
	raw, size := text(m.head), len(m.head)
	line, rest := http1.SplitHead(raw)
	m.lose(readDead)
	if r, err := http1.ParseRequestLine(line); err == nil {
		h.request(m, r, raw, rest, size, t, false)
	} else if indexLF([]byte(raw)) >= 0 && isText([]byte(line)) {
		h.oddRequest(m, line, raw, rest, size, t)
	} else {
		return false
	}
	return len(h.waiting) > 0
}

func (h *http1Conn) abort(f bus.Failure, t int64) {
	if m := &h.resp; m.state == readToClose && strings.HasPrefix(f.Code, "closed") {
		h.messageEnd(m, bus.ServerToClient, t, nil)
	}
	if h.req.x != nil {
		h.fail(h.req.x, f, t)
	}
	if m := &h.req; m.state == readHead && len(m.head) > 0 {
		h.cutHead(m, t)
	}
	for len(h.waiting) > 0 {
		h.fail(h.waiting[0], f, t)
	}
}
