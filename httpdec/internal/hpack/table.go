package hpack

import (
	"errors"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

// Limits of both compressions, that of HTTP/2 and that of HTTP/3.
const (
	MaxTable  = 256 << 10 // bytes of a dynamic table (RFC 7541, section 4.1; RFC 9204, section 3.2.1)
	MaxString = 128 << 10 // bytes of one name or value

	EntryOverhead = 32
)

// ErrLong is a string beyond MaxString, ErrInteger one that no peer needs.
var (
	ErrLong    = errors.New("a string of more than 128 KiB")
	ErrInteger = errors.New("an integer that is too large")
)

// Table is a dynamic table.
type Table struct {
	Entries []bus.Field // oldest first
	Max     int         // bytes
	size    int
}

// Add inserts an entry, which may evict itself.
func (t *Table) Add(f bus.Field) {
	t.Entries = append(t.Entries, f)
	t.size += cost(f)
	t.Resize(t.Max)
}

// Resize evicts what is more than max bytes.
func (t *Table) Resize(max int) {
	t.Max = max
	n := 0
	for t.size > t.Max {
		t.size -= cost(t.Entries[n])
		n++
	}
	if n == 0 {
		return
	}
	clear(t.Entries[:n])
	if t.Entries = t.Entries[n:]; len(t.Entries) == 0 {
		t.Entries = nil
	}
}

func cost(f bus.Field) int { return len(f.Name) + len(f.Value) + EntryOverhead }

// FromNewest is the entry that has i newer ones.
func (t *Table) FromNewest(i uint64) (f bus.Field, ok bool) {
	if i >= uint64(len(t.Entries)) {
		return f, false
	}
	return t.Entries[uint64(len(t.Entries))-1-i], true
}

// Snapshot visits the table.
func (t *Table) Snapshot(s *snapshot.State) {
	snapshot.Index(s, &t.Max, MaxTable)
	snapshot.List(s, &t.Entries, MaxTable/EntryOverhead, func(f *bus.Field) {
		snapshot.Bytes(s, &f.Name, MaxString)
		snapshot.Bytes(s, &f.Value, MaxString)
		if s.Reading() {
			t.size += cost(*f)
		}
	})
	s.Check(t.size <= t.Max)
}

// Integer decodes RFC 7541, section 5.1. n is 0 when p does not hold all of it. most
// is how many bytes may follow the first.
func Integer(p []byte, prefix uint, most int) (v uint64, n int, err error) {
	if len(p) == 0 {
		return 0, 0, nil
	}
	limit := uint64(1)<<prefix - 1
	if v = uint64(p[0]) & limit; v < limit {
		return v, 1, nil
	}
	for i, c := range p[1:] {
		if i >= most {
			return 0, 0, ErrInteger
		}
		v += uint64(c&0x7f) << (7 * i)
		if c&0x80 == 0 {
			return v, i + 2, nil
		}
	}
	return 0, 0, nil
}
