package keylog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"clipper/bus"
)

// File is an SSLKEYLOGFILE to follow.
type File struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset,omitempty"` // bytes that were there before
	// Agent is the library whose agent writes the file: each line has the
	// process id as a fourth word. "" for a file that programs write by themselves.
	Agent string `json:"agent,omitempty"`
}

// maxRead bounds what one Read takes, maxLine an unfinished line.
const (
	maxRead = 1 << 20
	maxLine = 4 << 10
)

// Tail follows a file as it grows. It only ever opens a regular file, so
// neither reading nor the writers can block.
type Tail struct {
	File
	f    *os.File
	part []byte // an unfinished line
	skip bool   // in a line that is too long
}

// Read returns the secrets of the lines that were completed since, and
// whether there is more to read. A file that does not exist yet has none; one
// that was truncated is read from its beginning.
func (t *Tail) Read() (secrets []*bus.TLSSecret, more bool, err error) {
	if t.f == nil {
		st, err := os.Stat(t.Path)
		if errors.Is(err, os.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		if t.f, err = os.Open(t.Path); err != nil {
			return nil, false, err
		}
	}
	st, err := t.f.Stat()
	if err != nil {
		return nil, false, err
	}
	if st.Size() < t.Offset {
		t.Offset, t.part, t.skip = 0, nil, false
	}
	if st.Size() == t.Offset {
		return nil, false, nil
	}
	b := make([]byte, min(st.Size()-t.Offset, maxRead))
	n, err := t.f.ReadAt(b, t.Offset)
	if err != nil && err != io.EOF {
		return nil, false, err
	}
	t.Offset += int64(n)
	return t.lines(b[:n]), st.Size() > t.Offset, nil
}

func (t *Tail) lines(b []byte) (secrets []*bus.TLSSecret) {
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			break
		}
		if len(t.part) > 0 {
			line = append(t.part, line...)
			t.part = nil
		}
		if !t.skip {
			if s, err := t.parse(string(line)); err == nil {
				secrets = append(secrets, s)
			}
		}
		t.skip = false
		b = rest
	}
	if !t.skip {
		t.part = append(t.part, b...)
		if len(t.part) > maxLine {
			t.part, t.skip = nil, true
		}
	}
	return secrets
}

func (t *Tail) parse(line string) (*bus.TLSSecret, error) {
	pid := 0
	if t.Agent != "" {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, ErrLine
		}
		pid, _ = strconv.Atoi(line[i+1:])
		line = line[:i]
	}
	s, err := ParseLine(line)
	if err == nil {
		s.PID, s.Library = pid, t.Agent
	}
	return s, err
}

// Close closes the file.
func (t *Tail) Close() error {
	if t.f == nil {
		return nil
	}
	return t.f.Close()
}
