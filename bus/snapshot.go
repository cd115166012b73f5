package bus

import (
	"encoding/binary"
	"errors"
)

// ErrSnapshot is a snapshot that is damaged or of another version.
var ErrSnapshot = errors.New("bus: damaged snapshot, or one of another version")

// AppendBool writes a bit. With AppendBytes, and AppendVarint and AppendUvarint of
// encoding/binary, it writes what a SnapshotReader reads.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendBytes writes v with its length.
func AppendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// SnapshotReader reads a snapshot. After an error it gives zero values; Done
// tells.
type SnapshotReader struct {
	b   []byte
	bad bool
}

// NewSnapshotReader reads b, which it neither copies nor changes.
func NewSnapshotReader(b []byte) *SnapshotReader { return &SnapshotReader{b: b} }

// Fail says that a value cannot be: Done gives an error, and what follows is zero.
func (r *SnapshotReader) Fail() { r.b, r.bad = nil, true }

// Done is nil if all was read, without an error.
func (r *SnapshotReader) Done() error {
	if r.bad || len(r.b) > 0 {
		return ErrSnapshot
	}
	return nil
}

// Failed reports whether there was an error.
func (r *SnapshotReader) Failed() bool { return r.bad }

// Uint reads an unsigned number of at most the given value.
func (r *SnapshotReader) Uint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Int reads a signed number.
func (r *SnapshotReader) Int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Bool reads what AppendBool wrote.
func (r *SnapshotReader) Bool() bool { return r.Uint(1) == 1 }

// Bytes reads what AppendBytes wrote; the result aliases the snapshot.
func (r *SnapshotReader) Bytes() []byte { return r.Fixed(int(r.Uint(uint64(len(r.b))))) }

// Fixed reads n bytes that were written without their number; nil if there are
// fewer.
func (r *SnapshotReader) Fixed(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Count reads the number of things that follow, each of at least size bytes: no
// more of them than there is left to read.
func (r *SnapshotReader) Count(size int) int {
	n := r.Uint(uint64(len(r.b)))
	if n > uint64(len(r.b)/max(size, 1)) {
		r.Fail()
		return 0
	}
	return int(n)
}
