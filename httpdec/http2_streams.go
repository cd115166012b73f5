package httpdec

import "clipper/bus"

// section acts on a field section: a head or trailers.
func (h *http2Conn) section(dir bus.Dir, b *fieldBlock, t int64) {
	if b.promised != 0 {
		h.request(b, b.promised, t)
		return
	}
	x := h.streams[b.stream]
	switch {
	case dir == bus.ClientToServer && x == nil:
		if b.stream <= h.highest && !h.unseen(b.stream) || b.stream%2 == 0 || h.strayTrailers(b, ":method") {
			return // closed
		}
		x = h.request(b, b.stream, t)
		if b.end {
			h.endStream(x, dir, t, nil)
		}
	case dir == bus.ClientToServer && !x.reqDone, dir == bus.ServerToClient && x != nil && x.respHead && !x.respDone:
		if b.end {
			h.endStream(x, dir, t, b.fields)
		} else {
			x.body(dir).note("a field section in the middle of the " + messageName(dir))
		}
	case dir == bus.ServerToClient:
		if x == nil {
			if b.stream <= h.highest && !h.unseen(b.stream) || b.stream%2 == 0 || h.strayTrailers(b, ":status") {
				return
			}
			h.opened(b.stream)
			x = h.orphan(b, t)
		}
		h.response(x, b, t)
	}
}

// unseen reports whether a stream may have been opened before the capture began.
func (h *http2Conn) unseen(id uint64) bool {
	return h.c.facts.Partial && (h.first == 0 || id < h.first)
}

// strayTrailers reports whether b is the end of a message whose head was not
// captured: it lacks the pseudo-header field that a head has.
func (h *http2Conn) strayTrailers(b *fieldBlock, pseudo string) bool {
	if !b.end || !h.c.facts.Partial {
		return false
	}
	for _, f := range b.fields {
		if f.Name == pseudo || f.Name == bus.NotCaptured {
			return false
		}
	}
	return true
}

func (h *http2Conn) request(b *fieldBlock, id uint64, t int64) *stream2 {
	if h.first == 0 {
		h.first = id
	}
	h.opened(id)
	return h.multiplexed.request(b, id, t)
}

// opened notes a stream of which something was seen.
func (h *http2Conn) opened(id uint64) {
	if id%2 == 1 {
		h.highest = max(h.highest, id)
	}
}

// upgradedFrom makes the request that asked for h2c stream 1 (RFC 7540, section 3.2).
func (h *http2Conn) upgradedFrom(x *exchange1) {
	h.streams[1] = &stream2{id: 1, stream: x.stream, method: x.method, origin: x.origin, reqDone: true}
	h.highest = 1
	h.c.setProtocol("h2")
}
