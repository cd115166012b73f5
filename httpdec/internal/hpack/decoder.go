// Package hpack decodes field sections (RFC 7541) as a silent reader must: it can
// start in the middle of a connection, where the dynamic table is not known, and
// its state can be stored. Huffman codes are left to x/net's hpack.
package hpack

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2/hpack"

	"clipper/bus"
	"clipper/httpdec/internal/snapshot"
)

// Limits of a decoder.
const (
	MaxIndex = MaxTable/EntryOverhead + uint64(len(static))

	initialTable = 4096
)

// Errors. What follows one of them in the same direction can't be decoded.
var (
	errIndex  = errors.New("hpack: an index beyond the table")
	errLong   = fmt.Errorf("hpack: %w", ErrLong)
	errUpdate = errors.New("hpack: a larger table than was allowed")
	errCut    = errors.New("hpack: a field section that ends inside of a field")
)

// Decoder decodes the field sections of one direction.
type Decoder struct {
	table   Table
	allowed int
	partial bool   // older entries than those of table may exist
	rest    []byte // of a field that is not complete
}

// New returns a decoder. partial says that the beginning of the direction was not
// captured.
func New(partial bool) *Decoder {
	d := &Decoder{table: Table{Max: initialTable}, allowed: initialTable}
	if partial {
		d.Forget()
	}
	return d
}

// Forget says that field sections were lost: what is in the table now is not
// known, nor how large it may be.
func (d *Decoder) Forget() {
	// An encoder does not use what it has evicted, so that to keep more than it
	// does no harm.
	*d = Decoder{table: Table{Max: MaxTable}, allowed: MaxTable, partial: true}
}

// Allow takes the SETTINGS_HEADER_TABLE_SIZE of the receiver (RFC 9113, section
// 6.5.2). When it takes effect is told in the field sections.
func (d *Decoder) Allow(n uint32) {
	if n = min(max(n, initialTable), MaxTable); !d.partial {
		d.allowed = int(n)
	}
}

// Write takes a part of a field section and emits the fields that are whole.
func (d *Decoder) Write(p []byte, emit func(bus.Field)) error {
	joined := len(d.rest) > 0
	if joined {
		d.rest = append(d.rest, p...)
		p = d.rest
	}
	for len(p) > 0 {
		n, err := d.field(p, emit)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		p = p[n:]
	}
	if len(p) == 0 {
		d.rest = d.rest[:0]
		return nil
	}
	if len(p) > 2*MaxString+64 {
		return errLong
	}
	if !joined || len(p) < len(d.rest) {
		d.rest = append(d.rest[:0], p...)
	}
	return nil
}

// End says that the section is complete.
func (d *Decoder) End() error {
	if cap(d.rest) > 4096 {
		defer func() { d.rest = nil }()
	}
	if len(d.rest) > 0 {
		d.rest = d.rest[:0]
		return errCut
	}
	return nil
}

// field decodes one field representation (RFC 7541, section 6). n is its length,
// 0 when p does not hold all of it.
func (d *Decoder) field(p []byte, emit func(bus.Field)) (n int, err error) {
	switch b := p[0]; {
	case b&0x80 != 0: // indexed
		i, n, err := integer(p, 7)
		if n == 0 || err != nil {
			return 0, err
		}
		f, err := d.at(i)
		if err == nil {
			emit(f)
		}
		return n, err
	case b&0xe0 == 0x20: // size update
		v, n, err := integer(p, 5)
		if n == 0 || err != nil {
			return 0, err
		}
		if v > uint64(d.allowed) {
			return 0, errUpdate
		}
		if d.table.Resize(int(v)); v == 0 {
			d.partial = false
		}
		return n, nil
	case b&0xc0 == 0x40:
		f, n, err := d.literal(p, 6)
		if n > 0 {
			d.table.Add(f)
			emit(f)
		}
		return n, err
	default: // without indexing, or never indexed
		f, n, err := d.literal(p, 4)
		if n > 0 {
			emit(f)
		}
		return n, err
	}
}

// literal decodes a field whose value is a string, once all of it is there: a long
// name is not decoded again for each piece of the value.
func (d *Decoder) literal(p []byte, prefix uint) (f bus.Field, n int, err error) {
	i, n, err := integer(p, prefix)
	if n == 0 || err != nil {
		return f, 0, err
	}
	var name []byte
	if i > 0 {
		f, err = d.at(i)
	} else if name, err = literalString(p[n:]); name == nil {
		return f, 0, err
	}
	if err != nil {
		return f, 0, err
	}
	n += len(name)
	value, err := literalString(p[n:])
	if value == nil {
		return f, 0, err
	}
	n += len(value)
	if name != nil {
		if f.Name, err = str(name); err != nil {
			return f, 0, err
		}
	}
	if f.Value, err = str(value); err != nil {
		return f, 0, err
	}
	return f, n, nil
}

// at is the entry with an index (RFC 7541, section 2.3.3).
func (d *Decoder) at(i uint64) (bus.Field, error) {
	switch {
	case i == 0:
		return bus.Field{}, errIndex
	case i <= uint64(len(static)):
		return static[i-1], nil
	}
	i -= uint64(len(static))
	if f, ok := d.table.FromNewest(i - 1); ok {
		return f, nil
	}
	if d.partial && i <= MaxIndex {
		return bus.Field{Name: bus.NotCaptured, Value: bus.NotCaptured}, nil
	}
	return bus.Field{}, fmt.Errorf("%w: %d of %d", errIndex, i, len(d.table.Entries))
}

// integer takes no more than what four bytes hold beside the first.
func integer(p []byte, prefix uint) (v uint64, n int, err error) {
	if v, n, err = Integer(p, prefix, 5); err != nil {
		err = fmt.Errorf("hpack: %w", err)
	}
	return v, n, err
}

// literalString is the string literal (RFC 7541, section 5.2) that p begins with,
// nil when p does not hold all of it.
func literalString(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, nil
	}
	size, n, err := integer(p, 7)
	if n == 0 || err != nil {
		return nil, err
	}
	if size > MaxString {
		return nil, errLong
	}
	if uint64(len(p)-n) < size {
		return nil, nil
	}
	return p[:n+int(size)], nil
}

// str decodes a whole string literal.
func str(p []byte) (string, error) {
	_, n, err := integer(p, 7)
	if err != nil {
		return "", err
	}
	b := p[n:]
	if p[0]&0x80 == 0 {
		return string(b), nil
	}
	s, err := hpack.HuffmanDecodeToString(b)
	if err == nil && len(s) > MaxString {
		err = errLong
	}
	return s, err
}

// Snapshot visits the state.
func (d *Decoder) Snapshot(s *snapshot.State) {
	d.table.Snapshot(s)
	snapshot.Index(s, &d.allowed, MaxTable)
	s.Bool(&d.partial)
	snapshot.Bytes(s, &d.rest, 2*MaxString+64)
}
