package pcapng

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// DamageError says where a file stops to make sense. What was read before it is
// good.
type DamageError struct {
	// Offset is the byte at which the damaged block or packet begins, in the
	// file, or in what it holds when it is compressed.
	Offset     int64
	Compressed bool
	Err        error // io.ErrUnexpectedEOF: the file is cut off
}

// Error implements error.
func (e *DamageError) Error() string {
	where := fmt.Sprintf("byte %d", e.Offset)
	if e.Compressed {
		where += " of the uncompressed data"
	}
	if errors.Is(e.Err, io.ErrUnexpectedEOF) {
		return "capture file is cut off at " + where
	}
	return fmt.Sprintf("capture file is damaged at %s: %v", where, e.Err)
}

// Unwrap returns Err.
func (e *DamageError) Unwrap() error { return e.Err }

// maxBlock is the largest packet or block that is read, in bytes. It is the
// limit of Wireshark.
const maxBlock = 16 << 20

// source is the input with its position.
type source struct {
	r          *bufio.Reader
	offset     int64
	compressed bool
	large      bytes.Buffer // what does not fit into r
}

// windowSize is how much of the input is read ahead. Any usual packet fits and
// is handed out without a copy.
const windowSize = 512 << 10

// peek returns the next n bytes, n being small, or as many as there are.
func (s *source) peek(n int) []byte {
	b, _ := s.r.Peek(n)
	return b
}

// next returns the next n bytes, valid until the following call. At the end of
// the input it returns io.EOF if there is none of them, else
// io.ErrUnexpectedEOF.
func (s *source) next(n int) ([]byte, error) {
	if n <= s.r.Size() {
		b, err := s.r.Peek(n)
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		s.r.Discard(n)
		s.offset += int64(n)
		return b, nil
	}
	// The length may be a lie: take memory as the bytes come.
	s.large.Reset()
	k, err := io.CopyN(&s.large, s.r, int64(n))
	s.offset += k
	if err == io.EOF && k > 0 {
		err = io.ErrUnexpectedEOF
	}
	if s.large.Cap() > 2*windowSize {
		defer func() { s.large = bytes.Buffer{} }()
	}
	return s.large.Bytes(), err
}

// skip passes over n bytes.
func (s *source) skip(n int64) error {
	k, err := io.CopyN(io.Discard, s.r, n)
	s.offset += k
	if err == io.EOF && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// damage makes the error for the block that began at offset.
func (s *source) damage(offset int64, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &DamageError{Offset: offset, Compressed: s.compressed, Err: err}
}
