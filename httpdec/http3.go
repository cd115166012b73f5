package httpdec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/qpack"
)

// Limits of HTTP/3.
const (
	maxBlocked = 1 << 20 // bytes of a connection that wait for the encoder streams
	maxHalves3 = 4 * MaxStreams
	heldCost   = 64 // bytes that an item counts for beside its own
)

// http3Conn decodes HTTP/3 (RFC 9114). Its input is not a sequence of bytes, as that
// of other protocols, but streams.
type http3Conn struct {
	multiplexed
	halves  map[halfID]*half3
	dec     [2]*qpack.Decoder // of the field sections of each direction
	blocked int               // bytes that wait
}

// halfID is one direction of a QUIC stream.
type halfID struct {
	stream uint64
	dir    bus.Dir
}

// half3 reads the frames of one direction of a stream.
type half3 struct {
	kind     halfKind
	head     []byte // of the type of the stream or of a frame that is not whole
	inside   bool   // of a frame
	typ      uint64 // of the frame
	left     uint64 // bytes of it that are still to come
	start    int64
	payload  []byte // of a frame that is kept
	lost     bool   // where the next frame begins is not known
	blocked  bool   // payload is a field section that waits
	later    []heldItem
	headed   bool // its head was there
	trailers []bus.Field
}

// halfKind is what a stream is for (RFC 9114, section 6).
type halfKind uint8

const (
	halfRequest halfKind = iota // or its response
	halfUnknown                 // unidirectional, its type is not there yet
	halfControl
	halfEncoder
	halfIgnored // a push, the decoder stream, or of an extension
)

// Frame types (RFC 9114, section 7.2).
const (
	frame3Data     = 0x00
	frame3Headers  = 0x01
	frame3Settings = 0x04
	frame3GoAway   = 0x07
)

func newHTTP3(c *conn) *http3Conn {
	h := &http3Conn{multiplexed: newMultiplexed(c, "h3"), halves: map[halfID]*half3{}}
	for d := range h.dec {
		h.dec[d] = new(qpack.Decoder)
	}
	return h
}

// quic takes a record of a stream of a QUIC connection.
func (c *conn) quic(r *bus.Record) {
	if c.proto == nil && !c.det.other {
		alpn := c.facts.TLS.ALPN
		if alpn == "" && len(c.facts.TLS.ClientALPN) > 0 {
			alpn = c.facts.TLS.ClientALPN[0]
		}
		if alpn != "h3" && !strings.HasPrefix(alpn, "h3-") {
			c.notHTTP("the protocol "+quote(alpn)+" (by ALPN)", r.Time)
			return
		}
		c.proto = newHTTP3(c)
	}
	h, ok := c.proto.(*http3Conn)
	if !ok {
		return
	}
	if r.Type == bus.Reset && r.Stream == bus.AllStreams {
		h.closed(r.Dir&1, uint64(r.Aux), string(r.Payload), r.Time)
		return
	}
	id := halfID{r.Stream, r.Dir & 1}
	s := h.half(id)
	if s == nil {
		return
	}
	item := heldItem{time: r.Time}
	switch r.Type {
	case bus.Data:
		item.b = r.Payload
	case bus.Gap:
		item.gap = uint64(r.Aux)
	case bus.Fin:
		item.fin = true
	case bus.Reset:
		h.reset(id, uint64(r.Aux), r.Time)
		return
	}
	h.take(id, s, item)
}

// half is the reader of a direction; nil: nothing is read of it.
func (h *http3Conn) half(id halfID) *half3 {
	if s := h.halves[id]; s != nil {
		return s
	}
	if len(h.halves) >= maxHalves3 {
		return nil
	}
	s := &half3{}
	switch id.stream & 3 {
	case 0:
	case 1:
		s.kind = halfIgnored // of an extension
	default:
		s.kind = halfUnknown
	}
	h.halves[id] = s
	return s
}

// take works on an item, or keeps it behind a field section that waits.
func (h *http3Conn) take(id halfID, s *half3, it heldItem) {
	if s.blocked {
		it.b = slices.Clone(it.b)
		s.later = append(s.later, it)
		if h.blocked += len(it.b) + heldCost; h.blocked > maxBlocked {
			h.force(it.time)
		}
		return
	}
	switch {
	case it.gap > 0:
		h.gap3(id, s, it.gap, it.time)
	case it.fin:
		h.end(id, s, it.time)
	default:
		h.bytes(id, s, it.b, it.time)
	}
}

// bytes reads frames.
func (h *http3Conn) bytes(id halfID, s *half3, p []byte, t int64) {
	for len(p) > 0 && !s.lost {
		switch {
		case s.blocked:
			h.take(id, s, heldItem{b: p, time: t})
			return
		case s.kind == halfIgnored:
			return
		case s.kind == halfEncoder:
			h.table(id.dir, t, func(inserted func()) error { return h.dec[id.dir].Encoder(p, inserted) })
			return
		case s.kind == halfUnknown:
			var v [1]uint64
			n, ok := s.integers(v[:], p)
			p = p[n:]
			if ok {
				s.kind = kindOf(v[0])
			}
		case !s.inside:
			if len(s.head) == 0 {
				s.start = t
			}
			var v [2]uint64
			n, ok := s.integers(v[:], p)
			p = p[n:]
			if ok {
				s.inside, s.typ, s.left, s.payload = true, v[0], v[1], s.payload[:0]
				if s.keeps() && s.left > maxControlFrame {
					h.lose(id, s, bus.Failure{Code: "limit", Reason: "an HTTP/3 frame other than DATA has more than 256 KiB"}, t)
				} else if s.left == 0 {
					h.frame(id, s, t)
				}
			}
		default:
			n := int(min(s.left, uint64(len(p))))
			s.left -= uint64(n)
			switch {
			case s.keeps():
				s.payload = append(s.payload, p[:n]...)
			case s.typ == frame3Data && s.kind == halfRequest:
				if x := h.streams[id.stream]; x != nil {
					x.data(id.dir, p[:n], t)
				}
			}
			if p = p[n:]; s.left == 0 {
				h.frame(id, s, t)
			}
		}
	}
}

// integers completes variable-length integers (RFC 9000, section 16) with bytes of p and
// says how many of them it took.
func (s *half3) integers(v []uint64, p []byte) (n int, ok bool) {
	for {
		b, all := s.head, true
		for i := range v {
			if len(b) == 0 || len(b) < 1<<(b[0]>>6) {
				all = false
				break
			}
			k := 1 << (b[0] >> 6)
			v[i] = uint64(b[0] & 0x3f)
			for _, x := range b[1:k] {
				v[i] = v[i]<<8 | uint64(x)
			}
			b = b[k:]
		}
		if all {
			s.head = s.head[:0]
			return n, true
		}
		if n == len(p) {
			return n, false
		}
		s.head = append(s.head, p[n])
		n++
	}
}

// kindOf is the meaning of the type of a unidirectional stream (RFC 9114, section 6.2;
// RFC 9204, section 4.2).
func kindOf(typ uint64) halfKind {
	switch typ {
	case 0:
		return halfControl
	case 2:
		return halfEncoder
	}
	return halfIgnored
}

// keeps reports whether the payload of the frame is needed as a whole.
func (s *half3) keeps() bool {
	switch s.typ {
	case frame3Headers:
		return s.kind == halfRequest
	case frame3Settings, frame3GoAway:
		return s.kind == halfControl
	}
	return false
}

// frame acts on a frame that is whole.
func (h *http3Conn) frame(id halfID, s *half3, t int64) {
	s.inside = false
	if !s.keeps() {
		return
	}
	switch s.typ {
	case frame3Headers:
		h.headers(id, s, t)
	case frame3Settings:
		h.settings(id.dir, s.payload, t)
	case frame3GoAway:
		h.goAway(id.dir, s.payload, t)
	}
	if cap(s.payload) > 32<<10 && !s.blocked {
		s.payload = nil
	}
}

// headers decodes the field section in s.payload, or waits until it can.
func (h *http3Conn) headers(id halfID, s *half3, t int64) {
	b := fieldBlock{stream: id.stream, start: s.start, wire: len(s.payload) + varintLen(frame3Headers) + varintLen(uint64(len(s.payload))), fields: make([]bus.Field, 0, 12)}
	err := h.dec[id.dir].Section(s.payload, b.add)
	if err == qpack.ErrBlocked {
		s.blocked = true
		if h.blocked += len(s.payload) + heldCost; h.blocked > maxBlocked {
			h.force(t)
		}
		return
	}
	if err != nil {
		h.lose(id, s, bus.Failure{Code: "malformed-headers", Reason: "an HTTP/3 field section can't be decoded: " + err.Error()}, t)
		return
	}
	h.section(id, s, &b, t)
}

func varintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// section acts on a field section: a head or trailers.
func (h *http3Conn) section(id halfID, s *half3, b *fieldBlock, t int64) {
	x := h.streams[id.stream]
	switch {
	case s.headed: // the end comes with that of the stream
		s.trailers = b.fields
	case id.dir == bus.ClientToServer:
		s.headed = true
		if x == nil {
			h.request(b, id.stream, t)
		}
	default:
		if x == nil {
			// The request may wait for its encoder, of which a part was lost.
			if r := h.halves[halfID{id.stream, bus.ClientToServer}]; r != nil && r.blocked {
				h.force(t)
				x = h.streams[id.stream]
			}
		}
		if x == nil {
			x = h.orphan(b, t)
		}
		h.response(x, b, t)
		s.headed = x.respHead
	}
}

// drop fails an exchange. What still comes on its stream is not read.
func (h *http3Conn) drop(x *stream2, f bus.Failure, t int64) {
	for d := range h.dec {
		id := halfID{x.id, bus.Dir(d)}
		if s := h.half(id); s != nil {
			h.free(s)
			*s = half3{lost: true}
		}
	}
	h.fail(x, f, t)
}

func (h *http3Conn) dropAll(f bus.Failure, t int64) {
	for _, x := range h.open() {
		h.drop(x, f, t)
	}
}

// unblock goes on with the sections of a direction that wait for its encoder stream.
func (h *http3Conn) unblock(d bus.Dir, t int64) {
	for _, id := range h.waiting(d) {
		s := h.halves[id]
		if s == nil || !s.blocked {
			continue
		}
		h.blocked -= len(s.payload) + heldCost
		s.blocked = false
		h.headers(id, s, t)
		if s.blocked {
			continue
		}
		later := s.later
		s.later = nil
		for _, it := range later {
			if !s.blocked {
				h.blocked -= len(it.b) + heldCost
				h.take(id, s, it)
			} else { // it is counted already
				s.later = append(s.later, it)
			}
		}
	}
}

// waiting lists the readers of a direction that wait, in order.
func (h *http3Conn) waiting(d bus.Dir) []halfID {
	if h.blocked == 0 {
		return nil
	}
	return slices.DeleteFunc(h.ids(), func(id halfID) bool { return id.dir != d || !h.halves[id].blocked })
}

// force decodes what waits without what it waits for, which was lost.
func (h *http3Conn) force(t int64) {
	for d := range h.dec {
		if dir := bus.Dir(d); len(h.waiting(dir)) > 0 {
			h.dec[d].Forget()
			h.unblock(dir, t)
		}
	}
}

// settings takes the SETTINGS of a side, which limit what the other one may use.
func (h *http3Conn) settings(d bus.Dir, p []byte, t int64) {
	const maxTableCapacity = 1 // RFC 9204, section 5
	capacity := uint64(0)
	for s := new(half3); len(p) > 0; {
		var v [2]uint64
		n, ok := s.integers(v[:], p)
		if !ok {
			break
		}
		if p = p[n:]; v[0] == maxTableCapacity {
			capacity = v[1]
		}
	}
	h.table(1-d, t, func(inserted func()) error { return h.dec[1-d].Allow(capacity, inserted) })
}

func (h *http3Conn) goAway(d bus.Dir, p []byte, t int64) {
	var v [1]uint64
	if _, ok := new(half3).integers(v[:], p); !ok || d == bus.ClientToServer {
		return // a client names a push
	}
	for _, x := range h.open() {
		if x.id >= v[0] && !x.respHead {
			h.drop(x, bus.Failure{Code: "goaway", Reason: "the server is going away"}, t)
		}
	}
}

// end is the end of a direction of a stream.
func (h *http3Conn) end(id halfID, s *half3, t int64) {
	defer h.forget(id)
	x := h.streams[id.stream]
	if s.kind != halfRequest || s.lost || x == nil {
		return
	}
	cut := s.inside || len(s.head) > 0
	switch {
	case id.dir == bus.ServerToClient && !x.respHead:
		h.drop(x, bus.Failure{Code: "fin-before-response", Reason: "the server closed the stream without a response"}, t)
	case id.dir == bus.ServerToClient && cut:
		h.drop(x, bus.Failure{Code: "fin-mid-body", Reason: "the server closed the stream in the middle of the response body"}, t)
	default:
		if cut {
			x.body(id.dir).note("the stream ends in the middle of a frame")
		}
		h.endStream(x, id.dir, t, s.trailers)
	}
}

// forget drops the reader of a direction of a stream that has ended.
func (h *http3Conn) forget(id halfID) {
	if s := h.halves[id]; s != nil {
		h.free(s)
		delete(h.halves, id)
	}
}

// free takes what waits in s out of the account.
func (h *http3Conn) free(s *half3) { h.blocked -= s.waits() }

// waits is what a blocked reader counts for in maxBlocked.
func (s *half3) waits() (n int) {
	if s.blocked {
		n = len(s.payload) + heldCost
	}
	for i := range s.later {
		n += len(s.later[i].b) + heldCost
	}
	return n
}

// reset is the end of a direction of a stream before its time.
func (h *http3Conn) reset(id halfID, code uint64, t int64) {
	defer h.forget(id)
	x := h.streams[id.stream]
	if x == nil {
		return
	}
	const noError = 0x100
	if id.dir == bus.ClientToServer && code == noError { // the server wants no more of the request
		x.reqBody.note("the client did not send the rest of the request, which the server did not want")
		h.endStream(x, id.dir, t, nil)
		return
	}
	who := side(id.dir)
	h.drop(x, bus.Failure{Code: "stream-reset-by-" + who, Reason: "the " + who + " reset the stream: " + errorName3(code)}, t)
}

// closed is the end of the connection.
func (h *http3Conn) closed(d bus.Dir, code uint64, reason string, t int64) {
	h.force(t)
	who := side(d)
	f := bus.Failure{Code: "closed-by-" + who, Reason: "the " + who + " closed the connection before the exchange was complete"}
	const noError = 0x100
	if code != 0 && code != noError {
		f.Reason = "the " + who + " closed the connection: " + errorName3(code)
		if reason != "" {
			f.Reason += " " + strconv.Quote(text([]byte(reason[:min(len(reason), 128)])))
		}
	}
	if h.c.facts.TLS.Alert != nil {
		f = h.c.failure(bus.ConnEnd{})
	}
	h.dropAll(f, t)
}

// errorName3 names an error code (RFC 9114, section 8.1; RFC 9204, section 6; RFC
// 9000, section 20.1).
func errorName3(code uint64) string {
	names := map[uint64]string{
		0x100: "H3_NO_ERROR", 0x101: "H3_GENERAL_PROTOCOL_ERROR", 0x102: "H3_INTERNAL_ERROR", 0x103: "H3_STREAM_CREATION_ERROR",
		0x104: "H3_CLOSED_CRITICAL_STREAM", 0x105: "H3_FRAME_UNEXPECTED", 0x106: "H3_FRAME_ERROR", 0x107: "H3_EXCESSIVE_LOAD",
		0x108: "H3_ID_ERROR", 0x109: "H3_SETTINGS_ERROR", 0x10a: "H3_MISSING_SETTINGS", 0x10b: "H3_REQUEST_REJECTED",
		0x10c: "H3_REQUEST_CANCELLED", 0x10d: "H3_REQUEST_INCOMPLETE", 0x10e: "H3_MESSAGE_ERROR", 0x10f: "H3_CONNECT_ERROR",
		0x110: "H3_VERSION_FALLBACK", 0x200: "QPACK_DECOMPRESSION_FAILED", 0x201: "QPACK_ENCODER_STREAM_ERROR", 0x202: "QPACK_DECODER_STREAM_ERROR",
		0x01: "INTERNAL_ERROR", 0x02: "CONNECTION_REFUSED", 0x03: "FLOW_CONTROL_ERROR", 0x04: "STREAM_LIMIT_ERROR", 0x05: "STREAM_STATE_ERROR",
		0x06: "FINAL_SIZE_ERROR", 0x07: "FRAME_ENCODING_ERROR", 0x08: "TRANSPORT_PARAMETER_ERROR", 0x09: "CONNECTION_ID_LIMIT_ERROR",
		0x0a: "PROTOCOL_VIOLATION", 0x0b: "INVALID_TOKEN", 0x0c: "APPLICATION_ERROR", 0x0d: "CRYPTO_BUFFER_EXCEEDED",
		0x0e: "KEY_UPDATE_ERROR", 0x0f: "AEAD_LIMIT_REACHED", 0x10: "NO_VIABLE_PATH",
	}
	if n := names[code]; n != "" {
		return fmt.Sprintf("%s (0x%x)", n, code)
	}
	return fmt.Sprintf("error 0x%x", code)
}

// lose gives up a direction of a stream.
func (h *http3Conn) lose(id halfID, s *half3, f bus.Failure, t int64) {
	if x := h.streams[id.stream]; x != nil && s.kind == halfRequest {
		h.drop(x, f, t)
		return
	}
	if s.kind == halfControl {
		h.dec[1-id.dir].Forget() // what it may use was lost
		h.unblock(1-id.dir, t)
	}
	*s = half3{kind: s.kind, lost: true}
}

// table changes the dynamic table of a direction.
func (h *http3Conn) table(d bus.Dir, t int64, change func(inserted func()) error) {
	if err := change(func() { h.unblock(d, t) }); err != nil {
		h.dropAll(bus.Failure{Code: "malformed-headers", Reason: "the table of HTTP/3's fields can't be followed: " + err.Error()}, t)
		h.c.emitVerdict(bus.Verdict{Code: bus.VerdictDamaged, Reason: "the HTTP/3 fields of the " + side(d) + " can't be followed any more: " + err.Error()}, t)
	}
	h.unblock(d, t)
}

// gap3 accounts for n lost bytes of a stream.
func (h *http3Conn) gap3(id halfID, s *half3, n uint64, t int64) {
	x := h.streams[id.stream]
	switch {
	case s.lost || s.kind == halfIgnored:
	case s.kind == halfEncoder:
		h.dec[id.dir].Forget()
		h.unblock(id.dir, t)
	case s.inside && !s.keeps() && n <= s.left:
		if s.typ == frame3Data && x != nil {
			x.skip(id.dir, n, t)
		}
		if s.left -= n; s.left == 0 {
			h.frame(id, s, t)
		}
	default:
		h.lose(id, s, gapFailure, t)
	}
}

// data, gap and fin are for sequences of bytes, which QUIC is not.
func (h *http3Conn) data(_ bus.Dir, p []byte, _ int64, _ bool) int { return len(p) }
func (h *http3Conn) gap(bus.Dir, uint64, int64)                    {}
func (h *http3Conn) fin(bus.Dir, int64)                            {}

func (h *http3Conn) abort(f bus.Failure, t int64) {
	h.force(t)
	h.dropAll(f, t)
}

// ids lists the readers in order.
func (h *http3Conn) ids() []halfID {
	return slices.SortedFunc(maps.Keys(h.halves), func(a, b halfID) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.dir, b.dir))
	})
}
