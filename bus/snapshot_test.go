package bus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func TestSnapshotReader(t *testing.T) {
	b := binary.AppendUvarint(nil, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = AppendBool(b, true)
	b = AppendBool(b, false)
	b = AppendBytes(b, []byte("some"))
	b = append(b, "fixed"...)
	b = append(binary.AppendUvarint(b, 3), 1, 2, 3)
	read := func(b []byte) (whole bool, err error) {
		r := NewSnapshotReader(b)
		whole = r.Uint(math.MaxUint64) == math.MaxUint64
		whole = r.Int() == math.MinInt64 && whole
		whole = r.Bool() && !r.Bool() && whole
		whole = bytes.Equal(r.Bytes(), []byte("some")) && whole
		whole = bytes.Equal(r.Fixed(5), []byte("fixed")) && whole
		n := r.Count(1)
		whole = n == 3 && whole
		for range n {
			r.Uint(3)
		}
		return whole, r.Done()
	}
	if whole, err := read(b); !whole || err != nil {
		t.Fatal(whole, err)
	}
	for n := range b {
		if _, err := read(b[:n]); !errors.Is(err, ErrSnapshot) {
			t.Errorf("the first %d bytes of %d: %v", n, len(b), err)
		}
	}
	if _, err := read(append(b, 0)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a byte more: %v", err)
	}
	r := NewSnapshotReader([]byte{4, 1, 2, 3})
	if n := r.Count(1); n != 0 || !r.Failed() {
		t.Errorf("%d things in 3 bytes", n)
	}
	if v := r.Uint(1); v != 0 || r.Fixed(3) != nil || len(r.Bytes()) > 0 {
		t.Error("values after an error")
	}
}
