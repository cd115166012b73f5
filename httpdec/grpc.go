package httpdec

import (
	"encoding/base64"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/coding"
)

// envelopes splits a body into the length-prefixed messages of gRPC
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), gRPC-Web and
// streaming Connect: a byte of flags, four of length, the message.
type envelopes struct {
	*body
	kind     string
	encoding string // of compressed messages
	proto    bool   // the messages are Protocol Buffers
	text     bool   // gRPC-Web in base64

	quad   []byte // base64 not yet decoded
	head   []byte
	flags  byte
	left   uint64
	inside bool
	size   uint64
	data   []byte
}

// newEnvelopes is nil when the media type t is none of them.
func newEnvelopes(b *body, t string, fields []bus.Field) *envelopes {
	e := &envelopes{body: b, kind: "grpc"}
	_, format, _ := strings.Cut(t, "+")
	switch {
	case strings.HasPrefix(t, "application/grpc-web"):
		e.text = strings.HasPrefix(t, "application/grpc-web-text")
		e.encoding = field(fields, "grpc-encoding")
	case t == "application/grpc", strings.HasPrefix(t, "application/grpc+"):
		e.encoding = field(fields, "grpc-encoding")
	case strings.HasPrefix(t, "application/connect+"):
		e.encoding = field(fields, "connect-content-encoding")
	default:
		return nil
	}
	e.proto = format == "" || format == "proto"
	return e
}

func (e *envelopes) write(p []byte, t int64) {
	if e.text {
		p = e.decodeText(p)
	}
	for len(p) > 0 {
		if !e.inside {
			n := min(5-len(e.head), len(p))
			e.head, p = append(e.head, p[:n]...), p[n:]
			if len(e.head) < 5 {
				return
			}
			h := e.head
			e.flags, e.left = h[0], uint64(h[1])<<24|uint64(h[2])<<16|uint64(h[3])<<8|uint64(h[4])
			e.head, e.size, e.data, e.inside = h[:0], e.left, e.data[:0], true
		}
		n := int(min(uint64(len(p)), e.left))
		if k := min(n, MaxMessage-len(e.data)); k > 0 {
			e.data = append(e.data, p[:k]...)
		}
		p = p[n:]
		if e.left -= uint64(n); e.left == 0 {
			e.inside = false
			e.emit(t)
		}
	}
}

// end tells of a message that is not whole.
func (e *envelopes) end(t int64) *bus.Content {
	if e.inside {
		m := &bus.Message{Kind: e.kind, Size: e.size, Cut: true, Problem: "the body ends inside of the message"}
		m.Binary = append([]byte(nil), e.data...)
		e.c.message(e.stream, e.dir, t, m)
	}
	return nil
}

// decodeText decodes base64 in groups of four, each of which may be padded.
func (e *envelopes) decodeText(p []byte) []byte {
	e.quad = append(e.quad, p...)
	var out []byte
	n := len(e.quad) / 4 * 4
	for i := 0; i < n; i += 4 {
		var b [3]byte
		k, err := base64.StdEncoding.Decode(b[:], e.quad[i:i+4])
		if err != nil {
			e.text = false // not base64 after all: nothing sensible follows
			break
		}
		out = append(out, b[:k]...)
	}
	e.quad = append(e.quad[:0], e.quad[n:]...)
	return out
}

func (e *envelopes) emit(t int64) {
	m := &bus.Message{Kind: e.kind, Size: e.size, Cut: e.size > uint64(len(e.data))}
	data := e.data
	if e.flags&1 != 0 && e.encoding != "" {
		data = e.decompress(m)
	}
	switch {
	case e.flags&0x80 != 0, e.flags&2 != 0, !e.proto: // trailers, the end of a Connect stream, or JSON
		m.Text = wholeText(data, m.Cut)
	default:
		e.c.s.protobuf(m, e.target, e.dir, data)
	}
	e.c.message(e.stream, e.dir, t, m)
	if cap(e.data) > 4096 {
		e.data = nil
	}
}

// decompress decodes a message by grpc-encoding; Size becomes that of the result.
func (e *envelopes) decompress(m *bus.Message) (data []byte) {
	d, unknown := coding.New([]string{e.encoding})
	if unknown != "" || d == nil {
		m.Problem = "grpc-encoding not known: " + e.encoding
		return e.data
	}
	m.Size = 0
	out := func(p []byte) {
		m.Size += uint64(len(p))
		data = append(data, p[:min(len(p), MaxMessage-len(data))]...)
	}
	err := d.Write(e.data, out)
	if closed := d.Close(out); err == nil {
		err = closed
	}
	if err != nil {
		m.Problem = err.Error()
	}
	if m.Size > uint64(len(data)) {
		m.Cut = true
	}
	return data
}
