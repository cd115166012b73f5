package httpdec

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

// Limits of multipart content.
const (
	maxParts    = 100     // that are listed
	maxPartHead = 8 << 10 // bytes of the field lines of a part
	maxBoundary = 256     // bytes; RFC 2046, section 5.1.1, allows 70
	maxPartText = 1 << 10 // bytes of a name
)

// multipart finds the parts of multipart content (RFC 2046, section 5.1).
type multipart struct {
	delimiter []byte // CR LF, two dashes, and the boundary
	state     partState
	rest      []byte // what may be the beginning of the next thing
	offset    uint64 // in the content, of rest
	parts     []bus.Part
	count     int
	now       bus.Part
}

type partState uint8

const (
	partPreamble  partState = iota
	partDelimiter           // behind the boundary
	partHead
	partContent
	partEpilogue
)

// newMultipart is nil without a boundary.
func newMultipart(contentType string) *multipart {
	_, params, err := mime.ParseMediaType(contentType)
	if b := params["boundary"]; err == nil && b != "" && len(b) <= maxBoundary {
		return &multipart{delimiter: []byte("\r\n--" + b), rest: []byte("\r\n"), offset: ^uint64(1)} // as if CR LF stood before the first line
	}
	return nil
}

func (m *multipart) write(p []byte, _ int64) {
	all := append(m.rest, p...)
	m.rest = all
	for m.step() {
	}
	m.rest = append(all[:0], m.rest...)
	if len(m.rest) == 0 && cap(m.rest) > 16<<10 {
		m.rest = nil
	}
}

// step consumes the next thing of rest, if it is whole.
func (m *multipart) step() bool {
	switch m.state {
	case partPreamble, partContent:
		i := bytes.Index(m.rest, m.delimiter)
		if i < 0 {
			m.take(len(m.rest) - len(m.delimiter) + 1)
			return false
		}
		m.take(i)
		if m.state == partContent {
			m.finish()
		}
		m.take(len(m.delimiter))
		m.state = partDelimiter
	case partDelimiter:
		lf := bytes.IndexByte(m.rest, '\n')
		switch {
		case len(m.rest) >= 2 && m.rest[0] == '-' && m.rest[1] == '-':
			m.state = partEpilogue
		case lf >= 0:
			m.take(lf + 1)
			m.state, m.now = partHead, bus.Part{}
		case len(m.rest) > maxPartHead:
			m.state = partEpilogue
		default:
			return false
		}
	case partHead:
		n := 0
		if bytes.HasPrefix(m.rest, []byte("\r\n")) {
			n = 2
		} else if i := bytes.Index(m.rest, []byte("\r\n\r\n")); i >= 0 {
			n = i + 4
		}
		if n == 0 && len(m.rest) <= maxPartHead {
			return false
		}
		m.head(m.rest[:n])
		m.take(n)
		m.state, m.now.Offset = partContent, m.offset
	case partEpilogue:
		m.take(len(m.rest))
		return false
	}
	return true
}

func (m *multipart) take(n int) {
	if n > 0 {
		m.rest = m.rest[n:]
		m.offset += uint64(n)
	}
}

// head reads the field lines of a part.
func (m *multipart) head(b []byte) {
	h, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(b))).ReadMIMEHeader() // as far as it can be read
	_, params, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
	short := func(s string) string { return wholeText([]byte(s[:min(len(s), maxPartText)]), len(s) > maxPartText) }
	m.now.Name, m.now.FileName, m.now.ContentType = short(params["name"]), short(params["filename"]), short(strings.TrimSpace(h.Get("Content-Type")))
}

// finish ends a part at offset.
func (m *multipart) finish() {
	if m.count++; len(m.parts) < maxParts {
		m.now.Size = m.offset - m.now.Offset
		m.parts = append(m.parts, m.now)
	}
}

func (m *multipart) end(int64) *bus.Content {
	return &bus.Content{Kind: "multipart", Parts: m.parts, PartCount: m.count}
}

func (m *multipart) snapshot(s *snapshot.State) {
	snapshot.Bytes(s, &m.delimiter, maxBoundary+4)
	snapshot.Index(s, &m.state, int(partEpilogue))
	snapshot.Bytes(s, &m.rest, maxHold)
	snapshot.Int(s, &m.offset)
	s.JSON(&m.parts)
	snapshot.Int(s, &m.count)
	s.JSON(&m.now)
	s.Check(len(m.delimiter) > 4)
}
