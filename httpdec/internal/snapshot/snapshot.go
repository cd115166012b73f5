// Package snapshot writes and reads the state of a decoder (bus.Snapshotter). A
// type has one function for both ways: it visits its fields, and the State writes
// each of them or fills it in. What is read is hostile: every length is checked.
package snapshot

import (
	"encoding/binary"
	"encoding/json"

	"clipper/bus"
)

// State is a snapshot that is being written or read.
type State struct {
	b []byte              // what was written
	r *bus.SnapshotReader // nil while writing
}

// Append begins a snapshot behind b.
func Append(b []byte) *State { return &State{b: b} }

// Read begins to read a snapshot.
func Read(b []byte) *State { return &State{r: bus.NewSnapshotReader(b)} }

// Written is the snapshot, behind what Append was given.
func (s *State) Written() []byte { return s.b }

// Reading reports whether fields are filled in.
func (s *State) Reading() bool { return s.r != nil }

// Damaged reports whether something was wrong so far.
func (s *State) Damaged() bool { return s.r != nil && s.r.Failed() }

// Done is nil if all was read, without an error.
func (s *State) Done() error { return s.r.Done() }

// Check marks the snapshot as damaged unless ok.
func (s *State) Check(ok bool) {
	if !ok && s.r != nil {
		s.r.Fail()
	}
}

// Int visits a number.
func Int[T ~int | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](s *State, v *T) {
	if s.r == nil {
		s.b = binary.AppendVarint(s.b, int64(*v))
		return
	}
	n := s.r.Int()
	*v = T(n)
	s.Check(int64(*v) == n)
}

// Index visits a number from 0 to most.
func Index[T ~int | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32](s *State, v *T, most int) {
	if Int(s, v); s.r != nil && (*v < 0 || int64(*v) > int64(most)) {
		s.r.Fail()
		*v = 0
	}
}

// Bool visits a truth value.
func (s *State) Bool(v *bool) {
	if s.r == nil {
		s.b = bus.AppendBool(s.b, *v)
	} else {
		*v = s.r.Bool()
	}
}

// Bytes visits a byte string of at most limit bytes.
func Bytes[T ~[]byte | ~string](s *State, v *T, limit int) {
	if s.r == nil {
		s.b = append(binary.AppendUvarint(s.b, uint64(len(*v))), *v...)
		return
	}
	b := s.r.Bytes()
	if s.Check(len(b) <= limit); len(b) <= limit && len(b) > 0 {
		*v = T(append([]byte(nil), b...))
	}
}

// List visits a list of at most limit elements, each of which takes a byte or more.
func List[T any](s *State, list *[]T, limit int, each func(*T)) {
	if s.r == nil {
		s.b = binary.AppendUvarint(s.b, uint64(len(*list)))
		for i := range *list {
			each(&(*list)[i])
		}
		return
	}
	n := s.r.Count(1)
	s.Check(n <= limit)
	for range n {
		var v T
		if each(&v); s.Damaged() {
			return
		}
		*list = append(*list, v)
	}
}

// maxJSON bounds one value of JSON.
const maxJSON = 16 << 20

// JSON visits a value that encoding/json takes both ways.
func (s *State) JSON(v any) {
	var b []byte
	if s.r == nil {
		b, _ = json.Marshal(v) // of our own types, which always can
	}
	if Bytes(s, &b, maxJSON); s.r != nil && !s.Damaged() {
		s.Check(json.Unmarshal(b, v) == nil)
	}
}
