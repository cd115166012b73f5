package httpdec

import (
	"cmp"
	"slices"
	"strconv"

	"clipper/bus"
)

// stream2 is a stream of HTTP/2 or HTTP/3: one exchange.
type stream2 struct {
	id     uint64
	stream uint64
	origin
	method   string
	protocol string // :protocol of an extended CONNECT (RFC 8441)
	ws       *webSocket
	reqDone  bool
	respHead bool
	respDone bool
	failed   bool
	doubted  [2]bool // frames may be lost
	reqBody  body
	respBody body
}

func (x *stream2) body(dir bus.Dir) *body {
	if dir == bus.ClientToServer {
		return &x.reqBody
	}
	return &x.respBody
}

// data takes the payload of DATA.
func (x *stream2) data(dir bus.Dir, p []byte, t int64) {
	switch {
	case !x.receives(dir):
	case x.ws != nil:
		x.body(dir).wire += uint64(len(p))
		x.ws.data(dir, p, t)
	default:
		x.body(dir).write(p, t)
	}
}

// skip accounts for DATA that was not captured.
func (x *stream2) skip(dir bus.Dir, n uint64, t int64) {
	switch {
	case !x.receives(dir):
	case x.ws != nil:
		x.ws.gap(dir, n, t)
	default:
		x.body(dir).skip(n, t)
	}
}

// doubt says that frames of a direction may be lost.
func (x *stream2) doubt(dir bus.Dir) {
	if dir == bus.ClientToServer && x.reqDone || dir == bus.ServerToClient && x.respDone {
		return
	}
	x.doubted[dir] = true
	x.body(dir).doubt()
	if x.ws != nil {
		x.ws.lose(dir)
	}
}

// receives reports whether DATA belongs to the stream now.
func (x *stream2) receives(dir bus.Dir) bool {
	if dir == bus.ClientToServer {
		return !x.failed && !x.reqDone
	}
	if !x.respHead {
		x.respBody.note("DATA before the response head")
	}
	return !x.failed && x.respHead && !x.respDone
}

// multiplexed are the exchanges of a connection that has one stream for each.
type multiplexed struct {
	c       *conn
	proto   string // "h2" or "h3"
	streams map[uint64]*stream2
}

func newMultiplexed(c *conn, proto string) multiplexed {
	return multiplexed{c: c, proto: proto, streams: map[uint64]*stream2{}}
}

func (h *multiplexed) newStream(id uint64, t int64) *stream2 {
	if len(h.streams) >= MaxStreams {
		h.fail(h.open()[0], bus.Failure{Code: "limit", Reason: "more than 16384 streams are open"}, t)
	}
	x := &stream2{id: id, stream: h.c.stream(id), origin: origin{losses: h.c.losses}}
	h.streams[id] = x
	return x
}

// open lists the open streams in order.
func (h *multiplexed) open() []*stream2 {
	list := make([]*stream2, 0, len(h.streams))
	for _, x := range h.streams {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b *stream2) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (h *multiplexed) failAll(f bus.Failure, t int64) {
	for _, x := range h.open() {
		h.fail(x, f, t)
	}
}

// orphan is a stream whose request was not captured.
func (h *multiplexed) orphan(b *fieldBlock, t int64) *stream2 {
	h.c.setProtocol(h.proto)
	h.c.announce(b.start)
	x := h.newStream(b.stream, t)
	x.reqDone = true
	x.respBody.note("response without a request")
	return x
}

func (h *multiplexed) request(b *fieldBlock, id uint64, t int64) *stream2 {
	c := h.c
	c.setProtocol(h.proto)
	c.announce(b.start)
	x := h.newStream(id, t)
	var scheme, authority, path string
	for i := range b.fields {
		f := &b.fields[i]
		if f.Name == bus.NotCaptured {
			continue
		}
		if f.Name == "" || f.Name[0] != ':' {
			break
		}
		switch f.Name {
		case ":method":
			x.method = f.Value
		case ":scheme":
			scheme = f.Value
		case ":authority":
			authority = f.Value
		case ":path":
			path = f.Value
		case ":protocol":
			x.protocol = f.Value
		}
	}
	e := &requestEvent{bus.Event{Type: bus.EventRequest, Time: b.start, Stream: x.stream}, bus.Request{
		Method: x.method, URL: h.url(x.method, scheme, authority, path, b.fields), Target: path, Proto: h.proto,
		Headers: b.fields, HeadersSize: b.wire, HeadEnd: t, Pushed: b.promised != 0,
	}}
	if path == "" {
		e.Target = authority
	}
	e.Event.Request = &e.Request
	c.event(&e.Event)
	x.target, x.began = path, b.start
	x.reqBody.start(c, x.stream, bus.ClientToServer, b.fields, x.origin)
	if b.cut {
		x.reqBody.note(cutSection)
	}
	if b.promised != 0 {
		h.endStream(x, bus.ClientToServer, t, nil)
	}
	return x
}

const cutSection = "field section of more than 256 KiB: the rest is not shown"

func (h *multiplexed) url(method, scheme, authority, path string, fields []bus.Field) string {
	s, a := h.c.origin()
	if scheme == "" {
		scheme = s
	}
	if authority == "" {
		if authority = field(fields, "host"); authority == "" {
			authority = a
		}
	}
	if path == "*" || method == "CONNECT" && path == "" {
		path = ""
	} else if path == "" {
		path = "/"
	}
	return scheme + "://" + authority + path
}

func (h *multiplexed) response(x *stream2, b *fieldBlock, t int64) {
	if x.respHead || x.failed {
		return
	}
	status := 0
	for i := range b.fields {
		if b.fields[i].Name == ":status" {
			status, _ = strconv.Atoi(b.fields[i].Value)
			break
		}
	}
	e := &responseEvent{bus.Event{Type: bus.EventResponse, Time: b.start, Stream: x.stream, Dir: bus.ServerToClient}, bus.Response{
		Status: status, Proto: h.proto, Headers: b.fields, HeadersSize: b.wire, HeadEnd: t,
	}}
	e.Event.Response = &e.Response
	if status >= 100 && status < 200 && !b.end {
		e.Event.Type = bus.EventInformation
		h.c.event(&e.Event)
		return
	}
	h.c.event(&e.Event)
	x.respHead = true
	problem := x.respBody.problem
	x.respBody.start(h.c, x.stream, bus.ServerToClient, b.fields, x.origin)
	x.respBody.note(problem)
	if b.cut {
		x.respBody.note(cutSection)
	}
	if x.protocol == "websocket" && status >= 200 && status < 300 {
		x.ws = newWebSocket(h.c, x.stream, b.fields)
	}
	if b.end {
		h.endStream(x, bus.ServerToClient, t, nil)
	}
}

// endStream is END_STREAM in one direction.
func (h *multiplexed) endStream(x *stream2, dir bus.Dir, t int64, trailers []bus.Field) {
	if x.failed {
		return
	}
	if dir == bus.ServerToClient {
		if !x.respHead && x.doubted[dir] {
			h.fail(x, bus.Failure{Code: "gap", Reason: "the head of the response was not captured"}, t)
			return
		}
		if !x.respHead || x.respDone {
			return
		}
		x.respDone = true
	} else {
		if x.reqDone {
			return
		}
		x.reqDone = true
	}
	x.body(dir).end(t, trailers)
	if x.reqDone && x.respDone {
		delete(h.streams, x.id)
		x.release()
	}
}

func (x *stream2) release() {
	if x.ws != nil {
		x.ws.release()
	}
}

// fail ends a stream. If the response is there, only the request is cut.
func (h *multiplexed) fail(x *stream2, f bus.Failure, t int64) {
	if x.failed {
		return
	}
	delete(h.streams, x.id)
	x.release()
	if x.respDone {
		x.reqBody.note("the request did not end: " + f.Reason)
		x.reqBody.end(t, nil)
		return
	}
	if (x.doubted[0] || x.doubted[1]) && f.Code != "gap" {
		f = bus.Failure{Code: "gap", Reason: f.Reason + "; frames before that were not captured"}
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
}
