package http1

import (
	"bytes"
	"errors"
	"strings"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

// Limits of the chunked coding.
const (
	MaxChunkLine = 4 << 10  // bytes of a chunk-size line with its extensions
	MaxTrailers  = 64 << 10 // bytes of the trailer section
)

// ErrChunked is a malformed chunked coding.
var ErrChunked = errors.New("malformed chunked coding")

// Chunked reads the chunked transfer coding (RFC 9112, section 7.1) as bytes
// arrive. The zero value is at the start of a body.
type Chunked struct {
	state     chunkState
	remaining uint64
	line      []byte // a partial line, or the trailer section so far
	resume    int
	Trailers  []bus.Field // once Done
	Problem   string
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd
	chunkTrailers
	chunkDone
)

// Done reports whether the body and its trailers are complete.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Next consumes bytes from the front of p: data aliases p and is body, n counts
// what was consumed with the framing. Call it until n is 0 or Done.
func (c *Chunked) Next(p []byte) (data []byte, n int, err error) {
	for n < len(p) {
		switch c.state {
		case chunkData:
			k := min(uint64(len(p)-n), c.remaining)
			data = p[n : n+int(k)]
			if c.remaining -= k; c.remaining == 0 {
				c.state = chunkDataEnd
			}
			return data, n + int(k), nil
		case chunkSize, chunkDataEnd:
			line, k, whole := c.readLine(p[n:])
			n += k
			if len(line) > MaxChunkLine {
				return nil, n, ErrChunked
			}
			if !whole {
				return nil, n, nil
			}
			if err := c.endLine(bytes.TrimSuffix(line, []byte("\r"))); err != nil {
				return nil, n, err
			}
			c.line = c.line[:0]
		case chunkTrailers:
			k, err := c.trailers(p[n:])
			return nil, n + k, err
		case chunkDone:
			return nil, n, nil
		}
	}
	return nil, n, nil
}

// Skip accounts for n lost bytes; ok is false when they reach beyond the
// present chunk, so that the framing is lost.
func (c *Chunked) Skip(n uint64) (ok bool) {
	if c.state != chunkData || n > c.remaining {
		return false
	}
	if c.remaining -= n; c.remaining == 0 {
		c.state = chunkDataEnd
	}
	return true
}

func (c *Chunked) readLine(p []byte) (line []byte, n int, whole bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		c.line = append(c.line, p[:min(len(p), MaxChunkLine+1)]...)
		return c.line, len(p), false
	}
	line = p[:i]
	if len(c.line) > 0 {
		c.line = append(c.line, line...)
		line = c.line
	}
	return line, i + 1, true
}

func (c *Chunked) endLine(line []byte) error {
	if c.state == chunkDataEnd {
		if len(line) != 0 {
			return ErrChunked
		}
		c.state = chunkSize
		return nil
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	size = bytes.TrimRight(size, " \t")
	if len(size) == 0 {
		return ErrChunked
	}
	v := uint64(0)
	for _, d := range size {
		h := unhex(d)
		if h < 0 {
			return ErrChunked
		}
		if v >= 1<<60 {
			return errors.New("chunk size does not fit in 64 bits")
		}
		v = v<<4 | uint64(h)
	}
	if c.remaining = v; v > 0 {
		c.state = chunkData
	} else {
		c.state = chunkTrailers
	}
	return nil
}

func unhex(d byte) int {
	switch {
	case d >= '0' && d <= '9':
		return int(d - '0')
	case d|0x20 >= 'a' && d|0x20 <= 'f':
		return int(d|0x20-'a') + 10
	}
	return -1
}

func (c *Chunked) trailers(p []byte) (n int, err error) {
	if len(c.line) == 0 { // the usual end: no trailers
		if p[0] == '\n' {
			c.state = chunkDone
			return 1, nil
		}
		if len(p) > 1 && p[0] == '\r' && p[1] == '\n' {
			c.state = chunkDone
			return 2, nil
		}
	}
	was := len(c.line)
	c.line = append(c.line, p[:min(len(p), MaxTrailers+1-min(was, MaxTrailers))]...)
	if c.line[0] == '\n' {
		c.state = chunkDone
		return 1 - was, nil
	}
	if len(c.line) > 1 && c.line[0] == '\r' && c.line[1] == '\n' {
		c.state = chunkDone
		return 2 - was, nil
	}
	end, resume := HeadEnd(c.line, c.resume)
	c.resume = resume
	if end == 0 {
		if len(c.line) > MaxTrailers {
			return len(p), errors.New("trailer section too long")
		}
		return len(p), nil
	}
	c.Trailers, c.Problem = ParseFields(strings.ToValidUTF8(string(c.line[:end]), "\ufffd"))
	c.state = chunkDone
	return end - was, nil
}

// Snapshot visits the state.
func (c *Chunked) Snapshot(s *snapshot.State) {
	snapshot.Index(s, &c.state, int(chunkDone))
	snapshot.Int(s, &c.remaining)
	snapshot.Bytes(s, &c.line, MaxTrailers+MaxChunkLine)
	snapshot.Index(s, &c.resume, MaxTrailers)
	s.Check(c.state != chunkDone) // that is dealt with at once
	snapshot.Bytes(s, &c.Problem, 1<<10)
	s.Check(c.state != chunkData || c.remaining > 0)
}
