package httpdec

import (
	"strings"

	"clipper/bus"
)

// tunnelled is a CONNECT that succeeded (RFC 9110, section 9.3.6): the exchange
// is complete, and what follows is a conversation of its own.
func (h *http1Conn) tunnelled(m *messageReader, x *exchange1, t int64) {
	m.x = x
	h.messageEnd(m, bus.ServerToClient, t, nil)
	h.c.tunnel = strings.TrimSuffix(x.target, ":443")
	h.c.switches++
	h.c.facts.Protocol = ""
	h.c.proto, h.c.det = nil, detection{}
}

// upgraded is a 101 response (RFC 9110, section 15.2.2).
func (h *http1Conn) upgraded(x *exchange1, fields []bus.Field) {
	c := h.c
	switch strings.ToLower(field(fields, "upgrade")) {
	case "h2c":
		h2 := newHTTP2(c)
		if x.stream != 1 {
			c.switches++
		}
		h2.upgradedFrom(x)
		c.proto = h2
	case "websocket":
		c.proto = &upgraded{c: c, x: x, ws: newWebSocket(c, x.stream, fields)}
	default:
		c.proto = &upgraded{c: c, x: x}
	}
}

// upgraded carries another protocol after a 101 response: WebSocket messages,
// or bytes, which are shown as the bodies of the exchange.
type upgraded struct {
	c      *conn
	x      *exchange1
	ws     *webSocket // nil: bytes
	closed [2]bool
	failed bool
}

func (u *upgraded) body(dir bus.Dir) *body {
	if dir == bus.ClientToServer {
		return &u.x.reqBody
	}
	return &u.x.respBody
}

func (u *upgraded) data(dir bus.Dir, p []byte, t int64, _ bool) int {
	switch {
	case u.failed || u.closed[dir]:
	case u.ws != nil:
		u.body(dir).wire += uint64(len(p))
		u.ws.data(dir, p, t)
	default:
		u.body(dir).write(p, t)
	}
	return len(p)
}

func (u *upgraded) gap(dir bus.Dir, n uint64, t int64) {
	switch {
	case u.failed || u.closed[dir]:
	case u.ws != nil:
		u.ws.gap(dir, n, t)
	default:
		u.body(dir).skip(n, t)
	}
}

func (u *upgraded) fin(dir bus.Dir, t int64) {
	if u.closed[dir] || u.failed {
		return
	}
	u.closed[dir] = true
	u.body(dir).end(t, nil)
	if u.closed[1-dir] {
		u.release()
	}
}

func (u *upgraded) release() {
	if u.ws != nil {
		u.ws.release()
	}
}

func (u *upgraded) abort(f bus.Failure, t int64) {
	if u.failed || u.closed[0] && u.closed[1] {
		return
	}
	u.release()
	if u.ws != nil && u.ws.closed[0] && u.ws.closed[1] { // both said so
		u.fin(bus.ClientToServer, t)
		u.fin(bus.ServerToClient, t)
		return
	}
	u.failed = true
	for dir := range bus.Dir(2) {
		if !u.closed[dir] {
			u.body(dir).finish(t, false)
		}
	}
	f.Losses = u.c.lossesSince(u.x.losses)
	u.c.event(&bus.Event{Type: bus.EventFailed, Time: t, Stream: u.x.stream, Failure: &f})
}
