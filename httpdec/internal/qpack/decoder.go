// Package qpack decodes the field sections of HTTP/3 (RFC 9204) as a silent reader
// must: what was lost of the dynamic table is a name of its own, and the state can
// be stored. Huffman codes are left to x/net's hpack.
package qpack

import (
	"errors"
	"fmt"

	huffman "golang.org/x/net/http2/hpack"

	"clipper/bus"
	"clipper/httpdec/internal/hpack"
	"clipper/httpdec/internal/snapshot"
)

const maxRest = 2*hpack.MaxString + 64 // bytes of an instruction

// ErrBlocked says that a field section refers to what the encoder has not said yet
// (RFC 9204, section 2.1.2). It can be decoded again later.
var ErrBlocked = errors.New("qpack: a field section that is ahead of its encoder")

// Errors. What follows one of them in the same direction can't be decoded.
var (
	errIndex = errors.New("qpack: an index beyond the table")
	errLong  = fmt.Errorf("qpack: %w", hpack.ErrLong)
	errTable = errors.New("qpack: a larger table than was allowed")
	errCut   = errors.New("qpack: a field section that ends inside of a field")
)

// Decoder decodes the field sections of one direction, whose encoder stream it reads.
type Decoder struct {
	table   hpack.Table
	allowed int
	inserts uint64 // entries so far
	settled bool   // allowed is known
	lost    bool   // a part of the encoder stream was not captured
	rest    []byte // of an instruction that is not complete, or of all until settled
}

// Forget says that a part of the encoder stream was lost: what entries follow, and
// which of them a section refers to, is not known any more.
func (d *Decoder) Forget() { *d = Decoder{lost: true} }

// Allow takes the SETTINGS_QPACK_MAX_TABLE_CAPACITY of the receiver (RFC 9204, section
// 5). What came before it, as 0-RTT does, waits for it.
func (d *Decoder) Allow(n uint64, inserted func()) error {
	if d.lost || d.settled {
		return nil
	}
	d.settled, d.allowed = true, int(min(n, hpack.MaxTable))
	return d.Encoder(nil, inserted)
}

// Encoder takes a part of the encoder stream (RFC 9204, section 4.3) and calls inserted
// after each entry, before another one can evict it. After an error all that comes is
// lost.
func (d *Decoder) Encoder(p []byte, inserted func()) error {
	if d.lost {
		return nil
	}
	d.rest = append(d.rest, p...)
	p = d.rest
	before := d.inserts
	for d.settled && len(p) > 0 {
		n, err := d.instruction(p)
		if err != nil {
			d.Forget()
			return err
		}
		if n == 0 {
			break
		}
		if p = p[n:]; d.inserts > before {
			before = d.inserts
			if inserted(); d.lost {
				return nil
			}
		}
	}
	if len(p) > maxRest {
		d.Forget()
		return errLong
	}
	if d.rest = append(d.rest[:0], p...); len(p) == 0 && cap(d.rest) > 4096 {
		d.rest = nil
	}
	return nil
}

// instruction reads the one that p begins with; n is 0 when p does not hold all of it.
func (d *Decoder) instruction(p []byte) (n int, err error) {
	var f bus.Field
	switch b := p[0]; {
	case b&0x80 != 0: // insert with name reference
		i, k, err := integer(p, 6)
		if k == 0 || err != nil {
			return 0, err
		}
		if b&0x40 != 0 {
			f, err = staticField(i)
		} else {
			f, err = d.relative(i)
		}
		if err != nil {
			return 0, err
		}
		n = k
	case b&0x40 != 0: // insert with literal name
		name, k, err := str(p, 5)
		if k == 0 || err != nil {
			return 0, err
		}
		f.Name, n = name, k
	case b&0x20 != 0: // capacity
		v, k, err := integer(p, 5)
		if k == 0 || err != nil {
			return 0, err
		}
		if v > uint64(d.allowed) {
			return 0, errTable
		}
		d.table.Resize(int(v))
		return k, nil
	default: // duplicate
		i, k, err := integer(p, 5)
		if k == 0 || err != nil {
			return 0, err
		}
		f, err := d.relative(i)
		if err != nil {
			return 0, err
		}
		d.add(f)
		return k, nil
	}
	value, k, err := str(p[n:], 7)
	if k == 0 || err != nil {
		return 0, err
	}
	f.Value = value
	d.add(f)
	return n + k, nil
}

func (d *Decoder) add(f bus.Field) {
	d.inserts++
	d.table.Add(f)
}

// relative is an entry counted from the newest (RFC 9204, section 3.2.5).
func (d *Decoder) relative(i uint64) (bus.Field, error) {
	f, ok := d.table.FromNewest(i)
	if !ok {
		return f, fmt.Errorf("%w: %d of %d", errIndex, i, len(d.table.Entries))
	}
	return f, nil
}

// absolute is the entry with an absolute index (RFC 9204, section 3.2.4).
func (d *Decoder) absolute(i uint64) (bus.Field, error) {
	if d.lost {
		return bus.Field{Name: bus.NotCaptured, Value: bus.NotCaptured}, nil
	}
	if i < d.inserts {
		if f, ok := d.table.FromNewest(d.inserts - 1 - i); ok {
			return f, nil
		}
	}
	return bus.Field{}, fmt.Errorf("%w: entry %d of %d", errIndex, i, d.inserts)
}

// Section decodes a whole field section (RFC 9204, section 4.5). Nothing is emitted
// before ErrBlocked.
func (d *Decoder) Section(p []byte, emit func(bus.Field)) error {
	encoded, n, err := integer(p, 8)
	if n == 0 || err != nil {
		return cut(err)
	}
	if encoded != 0 && !d.settled && !d.lost {
		return ErrBlocked
	}
	required, err := d.requiredInserts(encoded)
	if err != nil {
		return err
	}
	if required > d.inserts && !d.lost {
		return ErrBlocked
	}
	if p = p[n:]; len(p) == 0 {
		return errCut
	}
	negative := p[0]&0x80 != 0
	delta, n, err := integer(p, 7)
	if n == 0 || err != nil {
		return cut(err)
	}
	base := required + delta
	if negative {
		if delta >= required && !d.lost {
			return errIndex
		}
		base = required - delta - 1
	}
	for p = p[n:]; len(p) > 0; p = p[n:] {
		var f bus.Field
		if f, n, err = d.line(p, base); n == 0 || err != nil {
			return cut(err)
		}
		emit(f)
	}
	return nil
}

func cut(err error) error {
	if err == nil {
		return errCut
	}
	return err
}

// requiredInserts decodes the Required Insert Count (RFC 9204, section 4.5.1.1).
func (d *Decoder) requiredInserts(encoded uint64) (uint64, error) {
	if encoded == 0 || d.lost {
		return 0, nil
	}
	entries := uint64(d.allowed / hpack.EntryOverhead)
	if encoded > 2*entries {
		return 0, errIndex
	}
	most := d.inserts + entries
	required := most/(2*entries)*(2*entries) + encoded - 1
	if required > most {
		if required <= 2*entries {
			return 0, errIndex
		}
		required -= 2 * entries
	}
	if required == 0 {
		return 0, errIndex
	}
	return required, nil
}

// line decodes one field line representation (RFC 9204, section 4.5.2 to 4.5.6). n is
// 0 when p does not hold all of it.
func (d *Decoder) line(p []byte, base uint64) (f bus.Field, n int, err error) {
	ref := func(prefix uint, get func(uint64) (bus.Field, error)) (bus.Field, int, error) {
		i, n, err := integer(p, prefix)
		if n == 0 || err != nil {
			return bus.Field{}, 0, err
		}
		f, err := get(i)
		return f, n, err
	}
	before := func(i uint64) (bus.Field, error) {
		if i >= base && !d.lost {
			return bus.Field{}, errIndex
		}
		return d.absolute(base - 1 - i)
	}
	after := func(i uint64) (bus.Field, error) { return d.absolute(base + i) }
	switch b := p[0]; {
	case b&0xc0 == 0xc0:
		return ref(6, staticField)
	case b&0x80 != 0:
		return ref(6, before)
	case b&0xf0 == 0x10:
		return ref(4, after)
	case b&0xd0 == 0x50:
		f, n, err = ref(4, staticField)
	case b&0xc0 == 0x40:
		f, n, err = ref(4, before)
	case b&0xf0 == 0x00:
		f, n, err = ref(3, after)
	default: // literal name
		f.Name, n, err = str(p, 3)
	}
	if n == 0 || err != nil {
		return f, 0, err
	}
	value, k, err := str(p[n:], 7)
	if k == 0 || err != nil {
		return f, 0, err
	}
	f.Value = value
	return f, n + k, nil
}

// integer takes what QUIC's own integers hold.
func integer(p []byte, prefix uint) (v uint64, n int, err error) {
	if v, n, err = hpack.Integer(p, prefix, 8); err != nil {
		err = fmt.Errorf("qpack: %w", err)
	}
	return v, n, err
}

// str decodes the string literal in front of p, whose Huffman flag stands before its
// length (RFC 9204, section 4.1.2). n is 0 when p does not hold all of it.
func str(p []byte, prefix uint) (s string, n int, err error) {
	size, n, err := integer(p, prefix)
	if n == 0 || err != nil {
		return "", 0, err
	}
	if size > hpack.MaxString {
		return "", 0, errLong
	}
	if uint64(len(p)-n) < size {
		return "", 0, nil
	}
	b := p[n : n+int(size)]
	n += int(size)
	if p[0]&(1<<prefix) == 0 {
		return string(b), n, nil
	}
	if s, err = huffman.HuffmanDecodeToString(b); err == nil && len(s) > hpack.MaxString {
		err = errLong
	}
	return s, n, err
}

func staticField(i uint64) (bus.Field, error) {
	if i >= uint64(len(static)) {
		return bus.Field{}, errIndex
	}
	return static[i], nil
}

// Snapshot visits the state.
func (d *Decoder) Snapshot(s *snapshot.State) {
	d.table.Snapshot(s)
	snapshot.Index(s, &d.allowed, hpack.MaxTable)
	snapshot.Int(s, &d.inserts)
	s.Bool(&d.settled)
	s.Bool(&d.lost)
	snapshot.Bytes(s, &d.rest, maxRest)
	s.Check(uint64(len(d.table.Entries)) <= d.inserts)
}
