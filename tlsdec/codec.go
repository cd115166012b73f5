package tlsdec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
)

var errSnapshot = errors.New("tlsdec: the snapshot is damaged")

// codec writes a state to b or, when restoring, reads it back: the same
// description of a structure serves both. After an error all values are zero.
type codec struct {
	b         []byte
	restoring bool
	failed    bool
}

func (x *codec) fail() { x.failed, x.b = true, nil }

func (x *codec) uint64(v *uint64) {
	if !x.restoring {
		x.b = binary.AppendUvarint(x.b, *v)
		return
	}
	u, n := binary.Uvarint(x.b)
	if n <= 0 {
		x.fail()
		u, n = 0, 0
	}
	*v, x.b = u, x.b[n:]
}

// number codes integers of any type but uint64.
func number[T ~int | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64](x *codec, v *T) {
	i := int64(*v)
	u := uint64(i<<1) ^ uint64(i>>63)
	x.uint64(&u)
	i = int64(u>>1) ^ -int64(u&1)
	if *v = T(i); int64(*v) != i {
		*v = 0
		x.fail()
	}
}

// size codes a length of a list whose elements take at least one byte each.
func (x *codec) size(n int) int {
	u := uint64(n)
	x.uint64(&u)
	if x.restoring && u > uint64(len(x.b)) {
		x.fail()
		return 0
	}
	return int(u)
}

func (x *codec) bool(v *bool) {
	u := uint64(0)
	if *v {
		u = 1
	}
	x.uint64(&u)
	if *v = u == 1; u > 1 {
		x.fail()
	}
}

// present codes whether there is something at all.
func (x *codec) present(v bool) bool {
	x.bool(&v)
	return v
}

// pointer codes what p points to, if to anything.
func pointer[T any](x *codec, p **T, code func(*T, *codec)) {
	if !x.present(*p != nil) {
		return
	}
	if x.restoring {
		*p = new(T)
	}
	code(*p, x)
}

// octets codes a string of bytes; an empty one comes back as nil.
func octets[T ~[]byte | ~string](x *codec, v *T) {
	n := x.size(len(*v))
	if !x.restoring {
		x.b = append(x.b, *v...)
		return
	}
	var got []byte
	if n > 0 {
		got = append(got, x.b[:n]...)
	}
	*v, x.b = T(got), x.b[n:]
}

// array codes an array, given as a slice of it.
func (x *codec) array(v []byte) {
	if !x.restoring {
		x.b = append(x.b, v...)
		return
	}
	if len(x.b) < len(v) {
		x.fail()
		clear(v)
		return
	}
	x.b = x.b[copy(v, x.b):]
}

// list codes a slice; an empty one comes back as nil.
func list[T any](x *codec, v *[]T, element func(*codec, *T)) {
	n := x.size(len(*v))
	if x.restoring {
		*v = nil
	}
	for i := range n {
		if x.restoring {
			if x.failed {
				*v = nil
				return
			}
			*v = append(*v, *new(T))
		}
		element(x, &(*v)[i])
	}
}

// json codes what has a JSON form.
func (x *codec) json(v any) {
	var b []byte
	if !x.restoring {
		b, _ = json.Marshal(v) // it holds no type that can fail
	}
	octets(x, &b)
	if x.restoring && json.Unmarshal(b, v) != nil {
		x.fail()
	}
}
