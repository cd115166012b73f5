// Package coding undoes HTTP content codings (RFC 9110, section 8.4.1) as the
// bytes arrive: each Decoder is a state machine that is pushed input and pushes
// output, so that it needs neither a goroutine nor the whole body, and keeps
// what it decoded before an error.
package coding

import (
	"errors"
	"strings"
)

// Decoder undoes one coding, or a stack of them.
type Decoder interface {
	// Write takes encoded bytes and passes what they decode to to out. The
	// slice is only valid during the call. After an error the decoder ignores
	// its input and returns the error again.
	Write(p []byte, out func([]byte)) error
	// Close ends the input: it passes on what is left and returns an error when
	// the encoded body is not complete. The decoder must not be used after it.
	Close(out func([]byte)) error
	// Window is how many bytes the history of br and zstd takes now: as much as the
	// encoder chose, up to 16 MiB. Decoders of the other codings take less than 256
	// KiB in all, and say 0.
	Window() int
}

// Errors that all decoders share.
var (
	ErrTruncated = errors.New("encoded body ends early")
	ErrTrailing  = errors.New("bytes after the end of the encoded body")
)

// MaxStack is how many codings may be applied over each other.
const MaxStack = 8

// New makes the decoder for a list of codings in the order in which they were
// applied, that of Content-Encoding. It is nil when nothing needs to be undone;
// unknown names the first coding that the package does not have, and then the
// decoder is nil, too.
func New(codings []string) (d Decoder, unknown string) {
	if len(codings) > MaxStack {
		return nil, "more than 8 codings"
	}
	for i := len(codings) - 1; i >= 0; i-- {
		var next Decoder
		switch strings.ToLower(codings[i]) {
		case "", "identity":
			continue
		case "gzip", "x-gzip":
			next = newGzip()
		case "deflate":
			next = newDeflate()
		case "br":
			next = newReplayed(replayBrotli)
		case "zstd":
			next = newReplayed(replayZstd)
		case "compress", "x-compress":
			next = &lzw{}
		default:
			return nil, codings[i]
		}
		if d == nil {
			d = next
		} else {
			d = &stack{outer: d, inner: next}
		}
	}
	return d, ""
}

// Split lists the codings of Content-Encoding field values, in order.
func Split(values ...string) (codings []string) {
	for _, v := range values {
		for c := range strings.SplitSeq(v, ",") {
			if c = strings.TrimSpace(c); c != "" {
				codings = append(codings, c)
			}
		}
	}
	return codings
}

// stack feeds what outer decodes to inner.
type stack struct {
	outer, inner Decoder
	err          error
}

func (s *stack) Write(p []byte, out func([]byte)) error {
	err := s.outer.Write(p, func(b []byte) {
		if s.err == nil {
			s.err = s.inner.Write(b, out)
		}
	})
	return s.first(err)
}

// first prefers the error of inner: it is about bytes that came before.
func (s *stack) first(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

func (s *stack) Close(out func([]byte)) error {
	err := s.outer.Close(func(b []byte) {
		if s.err == nil {
			s.err = s.inner.Write(b, out)
		}
	})
	closed := s.inner.Close(out)
	if err = s.first(err); err == nil {
		err = closed
	}
	return err
}

func (s *stack) Window() int { return s.outer.Window() + s.inner.Window() }

func (*gzip) Window() int    { return 0 }
func (*deflate) Window() int { return 0 }
func (*lzw) Window() int     { return 0 }
