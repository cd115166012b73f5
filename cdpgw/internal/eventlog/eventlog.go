// Package eventlog is the shared log of encoded protocol events: written once,
// read by any number of clients, each with a cursor of its own and at its own
// pace. What is old goes to a spill file, so that memory stays bounded.
package eventlog

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"

	"clipper/cdpgw/internal/spill"
)

const (
	segmentSize   = 256 << 10 // bytes of events, about
	memorySegment = 64        // sealed segments kept in memory, the newest
)

// Entry is an event. Text is its "method" and "params" members without the
// braces around them, so that a reader can add a session id.
type Entry struct {
	Text     []byte
	PID      int
	Exchange uint64
}

// mark describes an entry of a segment.
type mark struct {
	end      uint32 // of its text
	pid      int32
	exchange uint64
}

const markLen = 16 // bytes of a mark in the file

type segment struct {
	first  uint64 // index of its first entry
	data   []byte // nil when it is in the file
	marks  []mark
	extent spill.Extent // data, then marks
	text   int64        // bytes of data
}

// encode is the segment as it stands in the file.
func (s *segment) encode() []byte {
	b := make([]byte, 0, len(s.data)+markLen*len(s.marks))
	b = append(b, s.data...)
	for _, m := range s.marks {
		b = binary.LittleEndian.AppendUint32(b, m.end)
		b = binary.LittleEndian.AppendUint32(b, uint32(m.pid))
		b = binary.LittleEndian.AppendUint64(b, m.exchange)
	}
	return b
}

// decode is the inverse of encode, with the text's length.
func decode(b []byte, text int64) ([]byte, []mark) {
	marks := make([]mark, 0, (len(b)-int(text))/markLen)
	for m := b[text:]; len(m) >= markLen; m = m[markLen:] {
		marks = append(marks, mark{binary.LittleEndian.Uint32(m), int32(binary.LittleEndian.Uint32(m[4:])), binary.LittleEndian.Uint64(m[8:])})
	}
	return b[:text], marks
}

// Log is safe for concurrent use, with one writer.
type Log struct {
	file *spill.File

	mu       sync.Mutex
	segments []*segment
	next     uint64
	rows     []uint64 // index of the first entry of each exchange
	unsealed int      // first segment that is in memory
	changed  chan struct{}
}

// New makes an empty log that spills into file.
func New(file *spill.File) *Log {
	return &Log{file: file, changed: make(chan struct{})}
}

// Append encodes and adds an event.
func (l *Log) Append(method string, params any, pid int, exchange uint64) error {
	p, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("eventlog: %s: %w", method, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.open(len(method) + len(p) + 24)
	s.data = append(s.data, `"method":"`...)
	s.data = append(s.data, method...)
	s.data = append(s.data, `","params":`...)
	s.data = append(s.data, p...)
	s.marks = append(s.marks, mark{uint32(len(s.data)), int32(pid), exchange})
	if exchange > uint64(len(l.rows)) {
		l.rows = append(l.rows, l.next)
	}
	l.next++
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

// open is the segment for n more bytes.
func (l *Log) open(n int) *segment {
	if k := len(l.segments); k > 0 {
		if s := l.segments[k-1]; len(s.data)+n <= segmentSize {
			return s
		}
	}
	s := &segment{first: l.next, data: make([]byte, 0, max(segmentSize, n))}
	l.segments = append(l.segments, s)
	for len(l.segments)-l.unsealed > memorySegment {
		old := l.segments[l.unsealed]
		e, err := l.file.Write(old.encode())
		if err != nil {
			break // the disk is full: memory has to do
		}
		old.extent, old.text = e, int64(len(old.data))
		old.data, old.marks = nil, nil
		l.unsealed++
	}
	return s
}

// Rows is the number of exchanges in the log.
func (l *Log) Rows() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.rows))
}

// Start is where to begin to read for exchanges from row on (rows count from 1).
func (l *Log) Start(row uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case row <= 1 || len(l.rows) == 0:
		return 0
	case row > uint64(len(l.rows)):
		return l.next
	}
	return l.rows[row-1]
}

// Changed is closed at the next Append.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Reader reads the log for one client.
type Reader struct {
	l     *Log
	at    uint64
	cache *segment // a segment read back from the file: its data and marks
	data  []byte
	marks []mark
}

// NewReader reads from the entry at index at.
func (l *Log) NewReader(at uint64) *Reader { return &Reader{l: l, at: at} }

// Next calls fn for at most n entries and reports how many it passed. The
// entries are valid during the call.
func (r *Reader) Next(n int, fn func(Entry) error) (int, error) {
	s, data, marks, err := r.locate()
	if err != nil || s == nil {
		return 0, err
	}
	i := int(r.at - s.first)
	done := 0
	for ; i < len(marks) && done < n; i++ {
		begin := uint32(0)
		if i > 0 {
			begin = marks[i-1].end
		}
		m := marks[i]
		if err := fn(Entry{data[begin:m.end:m.end], int(m.pid), m.exchange}); err != nil {
			return done, err
		}
		r.at++
		done++
	}
	return done, nil
}

// locate finds the segment of the next entry; none at the end of the log. Data
// and marks are append-only, so they may be read without the lock.
func (r *Reader) locate() (*segment, []byte, []mark, error) {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.at >= l.next {
		return nil, nil, nil, nil
	}
	lo, hi := 0, len(l.segments)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; l.segments[mid].first <= r.at {
			lo = mid
		} else {
			hi = mid
		}
	}
	s := l.segments[lo]
	if s.data != nil {
		return s, s.data, s.marks, nil
	}
	if r.cache != s {
		b := make([]byte, s.extent.Len)
		if err := l.file.ReadAt(b, s.extent, 0); err != nil {
			return nil, nil, nil, fmt.Errorf("eventlog: history: %w", err)
		}
		r.cache = s
		r.data, r.marks = decode(b, s.text)
	}
	return s, r.data, r.marks, nil
}
