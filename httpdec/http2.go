package httpdec

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/net/http2"

	"clipper/bus"
	"clipper/httpdec/internal/hpack"
)

// Limits of HTTP/2.
const (
	maxControlFrame = 256 << 10 // bytes of a frame other than DATA
)

// http2Conn decodes HTTP/2 (RFC 9113).
type http2Conn struct {
	multiplexed
	sides   [2]http2Side
	first   uint64 // stream of which the request was seen
	highest uint64 // stream that the client opened
	goaway  *bus.Failure
}

// http2Side reads the frames of one direction.
type http2Side struct {
	preface int // bytes of the client preface that were seen
	header  [frameHeaderLen]byte
	have    int // bytes of header
	start   int64
	frame   http2.FrameHeader
	payload []byte // of a frame other than DATA
	left    uint32 // bytes of a DATA frame that are still to come
	padding uint32 // of these
	padLen  bool   // the next byte is the Pad Length
	skip    uint32 // bytes of a frame that is not whole
	search  bool   // where the next frame begins is not known
	found   []byte // while it is searched
	lost    bool

	dec   *hpack.Decoder
	block fieldBlock
}

const frameHeaderLen = 9

// fieldBlock is a field section that is being received.
type fieldBlock struct {
	open     bool
	stream   uint64
	promised uint64
	end      bool // END_STREAM
	start    int64
	wire     int
	fields   []bus.Field
	size     int
	cut      bool
}

func newHTTP2(c *conn) *http2Conn {
	h := &http2Conn{multiplexed: newMultiplexed(c, "h2")}
	for i := range h.sides {
		h.sides[i].search = c.facts.Partial
		h.sides[i].dec = hpack.New(c.facts.Partial)
	}
	return h
}

func (b *fieldBlock) add(f bus.Field) {
	if b.size += len(f.Name) + len(f.Value) + 32; b.size > MaxHead {
		b.cut = true
		return
	}
	b.fields = append(b.fields, f)
}

func (h *http2Conn) data(dir bus.Dir, p []byte, t int64, force bool) (n int) {
	s := &h.sides[dir]
	if s.search {
		h.resync(s, dir, p, t, false)
		return len(p)
	}
	if dir == bus.ClientToServer && s.preface < len(clientPreface) && s.preface >= 0 {
		if n = s.readPreface(p); s.preface > 0 && s.preface < len(clientPreface) && n < len(p) {
			h.lose(dir, bus.Failure{Code: "malformed-preface", Reason: "the HTTP/2 client preface is cut"}, t)
		}
	}
	for n < len(p) {
		switch {
		case s.lost:
			return len(p)
		case s.skip > 0:
			k := min(int(s.skip), len(p)-n)
			s.skip -= uint32(k)
			n += k
			continue
		}
		k, wait := h.read(s, dir, p[n:], t, force)
		n += k
		if wait || k > 0 && s.have == 0 && h.c.waits(dir) {
			break
		}
	}
	return n
}

// readPreface consumes the client preface, if it is there: a connection seen
// from the middle has none.
func (s *http2Side) readPreface(p []byte) (n int) {
	for n < len(p) && s.preface < len(clientPreface) {
		if p[n] != clientPreface[s.preface] {
			if s.preface == 0 {
				s.preface = -1
			}
			return n
		}
		n++
		s.preface++
	}
	return n
}

// read consumes a part of p. When the frame must wait for the other direction,
// its last byte is left.
func (h *http2Conn) read(s *http2Side, dir bus.Dir, p []byte, t int64, force bool) (n int, wait bool) {
	if s.left > 0 {
		return h.readData(s, dir, p, t), false
	}
	if s.have < frameHeaderLen {
		if s.have == 0 {
			s.start = t
		}
		n = copy(s.header[s.have:], p)
		if s.have += n; s.have < frameHeaderLen {
			return n, false
		}
		s.frame = parseFrameHeader(s.header[:])
		s.payload = s.payload[:0]
		if s.frame.Type == http2.FrameData {
			return n, h.startData(s, dir, t)
		}
		if s.frame.Length > maxControlFrame {
			f := bus.Failure{Code: "limit", Reason: "an HTTP/2 frame other than DATA has more than 256 KiB"}
			if string(s.header[:7]) == "HTTP/1." {
				f = bus.Failure{Code: "malformed-http1", Reason: "the " + side(dir) + " answers in HTTP/1: it does not speak HTTP/2 here"}
			}
			h.lose(dir, f, t)
			return len(p), false
		}
	}
	k := min(int(s.frame.Length)-len(s.payload), len(p)-n)
	whole := len(s.payload)+k == int(s.frame.Length)
	if whole && k > 0 && !force && h.mustWait(s, dir) {
		s.payload = append(s.payload, p[n:n+k-1]...)
		return n + k - 1, true
	}
	payload := p[n : n+k]
	if len(s.payload) > 0 || !whole {
		s.payload = append(s.payload, payload...)
		payload = s.payload
	}
	if whole {
		s.have = 0
		h.control(s, dir, payload, t)
		if cap(s.payload) > 32<<10 {
			s.payload = nil
		}
	}
	return n + k, false
}

func parseFrameHeader(b []byte) http2.FrameHeader {
	return http2.FrameHeader{
		Length:   uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		Type:     http2.FrameType(b[3]),
		Flags:    http2.Flags(b[4]),
		StreamID: (uint32(b[5])<<24 | uint32(b[6])<<16 | uint32(b[7])<<8 | uint32(b[8])) &^ (1 << 31),
	}
}

// mustWait reports whether the frame answers a request that has not been seen.
func (h *http2Conn) mustWait(s *http2Side, dir bus.Dir) bool {
	id := uint64(s.frame.StreamID)
	return dir == bus.ServerToClient && s.frame.Type == http2.FrameHeaders && id%2 == 1 && id > h.highest &&
		!h.sides[bus.ClientToServer].lost && !h.sides[bus.ClientToServer].search && !h.c.facts.Partial
}

func (h *http2Conn) startData(s *http2Side, dir bus.Dir, t int64) (wait bool) {
	s.have = 0
	s.left, s.padding, s.padLen = s.frame.Length, 0, s.frame.Flags.Has(http2.FlagDataPadded)
	if s.left == 0 {
		h.endData(s, dir, t)
	}
	return false
}

func (h *http2Conn) readData(s *http2Side, dir bus.Dir, p []byte, t int64) (n int) {
	if s.padLen {
		s.padLen = false
		s.left--
		if s.padding = uint32(p[0]); s.padding > s.left {
			s.padding = s.left
		}
		n = 1
	}
	if k := min(int(s.left-s.padding), len(p)-n); k > 0 {
		if x := h.streams[uint64(s.frame.StreamID)]; x != nil {
			x.data(dir, p[n:n+k], t)
		}
		n += k
		s.left -= uint32(k)
	}
	if s.left <= s.padding {
		k := min(int(s.left), len(p)-n)
		n += k
		s.left -= uint32(k)
		s.padding = s.left
		if s.left == 0 {
			h.endData(s, dir, t)
		}
	}
	return n
}

func (h *http2Conn) endData(s *http2Side, dir bus.Dir, t int64) {
	if s.frame.Flags.Has(http2.FlagDataEndStream) {
		if x := h.streams[uint64(s.frame.StreamID)]; x != nil {
			h.endStream(x, dir, t, nil)
		}
	}
}

// control acts on a whole frame other than DATA.
func (h *http2Conn) control(s *http2Side, dir bus.Dir, payload []byte, t int64) {
	switch s.frame.Type {
	case http2.FrameWindowUpdate, http2.FramePing, http2.FramePriority:
		return
	}
	f, err := h.c.s.frames.parse(s.header[:], payload)
	if err != nil {
		switch s.frame.Type {
		case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		default:
			return // nothing that what follows depends on
		}
		h.lose(dir, bus.Failure{Code: "malformed-frame", Reason: "malformed HTTP/2 frame: " + err.Error()}, t)
		return
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		h.startBlock(s, fieldBlock{stream: uint64(f.StreamID), end: f.StreamEnded()})
		h.fragment(s, dir, f.HeaderBlockFragment(), f.HeadersEnded(), t)
	case *http2.PushPromiseFrame:
		h.startBlock(s, fieldBlock{stream: uint64(f.StreamID), promised: uint64(f.PromiseID)})
		h.fragment(s, dir, f.HeaderBlockFragment(), f.HeadersEnded(), t)
	case *http2.ContinuationFrame:
		if s.block.open && s.block.stream == uint64(f.StreamID) {
			h.fragment(s, dir, f.HeaderBlockFragment(), f.HeadersEnded(), t)
		}
	case *http2.RSTStreamFrame:
		h.reset(f.StreamID, dir, f.ErrCode, t)
	case *http2.GoAwayFrame:
		h.goAway(dir, f, t)
	case *http2.SettingsFrame:
		if v, ok := f.Value(http2.SettingHeaderTableSize); ok && !f.IsAck() {
			// It limits what the other side may use; when that takes effect is
			// told in its field sections.
			h.sides[1-dir].dec.Allow(v)
		}
	}
}

func (h *http2Conn) startBlock(s *http2Side, b fieldBlock) {
	b.open, b.start = true, s.start
	s.block = b
}

func (h *http2Conn) fragment(s *http2Side, dir bus.Dir, p []byte, last bool, t int64) {
	s.block.wire += frameHeaderLen + int(s.frame.Length)
	if s.block.fields == nil {
		s.block.fields = make([]bus.Field, 0, 12)
	}
	err := s.dec.Write(p, s.block.add)
	if err == nil && last {
		err = s.dec.End()
	}
	if err != nil {
		h.lose(dir, bus.Failure{Code: "malformed-headers", Reason: "an HTTP/2 field section can't be decoded: " + err.Error()}, t)
		return
	}
	if last {
		s.block.open = false
		b := s.block
		s.block = fieldBlock{}
		h.section(dir, &b, t)
	}
}

// frameReader parses frames that are already whole with x/net's framer.
type frameReader struct {
	framer *http2.Framer
	header bytes.Reader
	body   bytes.Reader
}

func (r *frameReader) Read(p []byte) (int, error) {
	if r.header.Len() > 0 {
		return r.header.Read(p)
	}
	return r.body.Read(p)
}

func (r *frameReader) parse(header, payload []byte) (http2.Frame, error) {
	if r.framer == nil {
		r.framer = http2.NewFramer(nil, r)
		r.framer.AllowIllegalReads = true
		r.framer.SetMaxReadFrameSize(1<<24 - 1)
		r.framer.SetReuseFrames()
	}
	r.header.Reset(header)
	r.body.Reset(payload)
	return r.framer.ReadFrame()
}

// lose gives up a direction: its framing or its dynamic table is not known any
// more.
func (h *http2Conn) lose(dir bus.Dir, f bus.Failure, t int64) {
	s := &h.sides[dir]
	if s.lost {
		return
	}
	s.lost, s.left, s.have, s.payload, s.block = true, 0, 0, nil, fieldBlock{}
	h.failAll(f, t)
	h.c.emitVerdict(bus.Verdict{Code: bus.VerdictDamaged, Reason: "the HTTP/2 bytes of the " + side(dir) + " can't be followed any more: " + f.Reason}, t)
}

// gap accounts for lost bytes. Inside of a frame they damage no other stream than
// its own; else what they were is not known, and the next frame is searched for.
func (h *http2Conn) gap(dir bus.Dir, n uint64, t int64) {
	s := &h.sides[dir]
	switch {
	case s.lost:
	case s.left > 0 && !s.padLen && n <= uint64(s.left-s.padding):
		if x := h.streams[uint64(s.frame.StreamID)]; x != nil {
			x.skip(dir, n, t)
		}
		if s.left -= uint32(n); s.left == 0 {
			h.endData(s, dir, t)
		}
	case s.skip > 0 && n <= uint64(s.skip):
		s.skip -= uint32(n)
	case s.have == frameHeaderLen && n <= uint64(s.frame.Length)-uint64(len(s.payload)):
		s.skip = s.frame.Length - uint32(len(s.payload)) - uint32(n)
		s.have, s.payload = 0, nil
		h.damaged(s, dir, t)
	default:
		if s.left > 0 {
			if x := h.streams[uint64(s.frame.StreamID)]; x != nil {
				x.skip(dir, uint64(s.left), t)
			}
		}
		h.unknown(s, dir, t)
	}
}

// damaged deals with a frame of which a part is lost.
func (h *http2Conn) damaged(s *http2Side, dir bus.Dir, t int64) {
	switch s.frame.Type {
	case http2.FrameHeaders, http2.FramePushPromise, http2.FrameContinuation:
		s.dec.Forget()
		s.block = fieldBlock{}
		if x := h.streams[uint64(s.frame.StreamID)]; x != nil {
			h.fail(x, gapFailure, t)
		}
		if id := uint64(s.frame.StreamID); dir == bus.ClientToServer && s.frame.Type == http2.FrameHeaders && id%2 == 1 {
			h.highest = max(h.highest, id)
		}
	}
}

var gapFailure = bus.Failure{Code: "gap", Reason: "bytes of the exchange were not captured"}

// unknown begins the search for the next frame. Any stream may have lost frames,
// and any entry may have come into the dynamic table.
func (h *http2Conn) unknown(s *http2Side, dir bus.Dir, t int64) {
	for _, x := range h.open() {
		x.doubt(dir)
	}
	s.dec.Forget()
	s.search, s.found = true, nil
	s.left, s.have, s.skip, s.payload, s.block = 0, 0, 0, nil, fieldBlock{}
	if dir == bus.ClientToServer {
		s.preface = -1
	}
}

func (h *http2Conn) fin(dir bus.Dir, t int64) {
	h.searchLast(dir, t)
	if dir == bus.ClientToServer {
		return // it may still read
	}
	for _, x := range h.open() {
		f := bus.Failure{Code: "fin-mid-body", Reason: "the server closed the connection in the middle of the response body"}
		if !x.respHead {
			f = bus.Failure{Code: "fin-before-response", Reason: "the server closed the connection without a response"}
		}
		if h.c.closer == int(bus.ClientToServer) {
			f = closedBy(bus.ClientToServer)
		}
		h.fail(x, h.because(f), t)
	}
}

// because prefers the reason that a GOAWAY gave.
func (h *http2Conn) because(f bus.Failure) bus.Failure {
	if h.goaway != nil {
		return *h.goaway
	}
	return f
}

func (h *http2Conn) abort(f bus.Failure, t int64) {
	h.searchLast(bus.ClientToServer, t)
	h.searchLast(bus.ServerToClient, t)
	h.failAll(h.because(f), t)
}

// searchLast looks for a last frame in what is left of a search.
func (h *http2Conn) searchLast(dir bus.Dir, t int64) {
	if s := &h.sides[dir]; s.search && len(s.found) > 0 {
		h.resync(s, dir, nil, t, true)
	}
}

func (h *http2Conn) reset(id uint32, dir bus.Dir, code http2.ErrCode, t int64) {
	x := h.streams[uint64(id)]
	if x == nil {
		return
	}
	who := side(dir)
	h.fail(x, bus.Failure{Code: "stream-reset-by-" + who, Reason: fmt.Sprintf("the %s reset the stream: %s (%d)", who, code, uint32(code))}, t)
}

func (h *http2Conn) goAway(dir bus.Dir, f *http2.GoAwayFrame, t int64) {
	reason := fmt.Sprintf("the %s is going away: %s (%d)", side(dir), f.ErrCode, uint32(f.ErrCode))
	if d := f.DebugData(); len(d) > 0 {
		reason += " " + strconv.Quote(text(d[:min(len(d), 128)]))
	}
	failure := bus.Failure{Code: "goaway", Reason: reason}
	if f.ErrCode != http2.ErrCodeNo {
		h.goaway = &failure
	}
	odd := uint64(1) // the streams that the other side opened
	if dir == bus.ClientToServer {
		odd = 0
	}
	for _, x := range h.open() {
		if x.id%2 == odd && x.id > uint64(f.LastStreamID) && !x.respHead {
			h.fail(x, failure, t)
		}
	}
}
