package bodystore

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"clipper/bus"
)

func add(t *testing.T, s *Store, conn bus.ConnID, stream uint64, dir bus.Dir, offset uint64, p string) {
	t.Helper()
	r := &bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: conn, Stream: stream, Dir: dir, Offset: offset, Payload: []byte(p)}
	if err := s.Add(r); err != nil {
		t.Fatal(err)
	}
	clear(r.Payload) // the store must not keep it
}

func read(t *testing.T, s *Store, conn bus.ConnID, stream uint64, dir bus.Dir) string {
	t.Helper()
	b, size, err := s.Body(conn, stream, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := io.ReadAll(b)
	if err != nil || uint64(len(p)) != size {
		t.Fatalf("%d bytes of %d, %v", len(p), size, err)
	}
	return string(p)
}

func newStore(t *testing.T) *Store {
	dir := t.TempDir()
	s, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("the file has a name: %v", list)
	}
	return s
}

func TestInterleaved(t *testing.T) {
	for _, room := range []int{0, 1000, maxMemory} { // all in the file, some, none
		t.Run(fmt.Sprint(room), func(t *testing.T) { interleaved(t, room) })
	}
}

func interleaved(t *testing.T, room int) {
	s := newStore(t)
	s.room = room
	var want [4]bytes.Buffer
	for i := range 100 {
		for k := range want {
			p := fmt.Sprintf("%d-%d ", k, i)
			add(t, s, bus.ConnID(k/2), 1, bus.Dir(k%2), uint64(want[k].Len()), p)
			want[k].WriteString(p)
		}
	}
	add(t, s, 0, 1, 0, 0, "0-0 again") // a repetition
	for k := range want {
		if got := read(t, s, bus.ConnID(k/2), 1, bus.Dir(k%2)); got != want[k].String() {
			t.Errorf("body %d: %q", k, got)
		}
	}
	s.Forget(0, 1)
	if got := read(t, s, 0, 1, 0); got != "" {
		t.Errorf("forgotten body: %q", got)
	}
	if got := read(t, s, 1, 1, 0); got != want[2].String() {
		t.Errorf("after Forget of another: %q", got)
	}
	s.Forget(1, 1)
	if s.room != room {
		t.Errorf("there is room for %d bytes, want %d", s.room, room)
	}
}

// TestMemory: only the beginning of a body is in memory, and only as long as
// there is room.
func TestMemory(t *testing.T) {
	s := newStore(t)
	const part, parts = 16 << 10, 16 // of a body
	want := strings.Repeat("x", part*parts)
	for conn := range bus.ConnID(2 * maxMemory / maxSmall) {
		for i := range uint64(parts) {
			add(t, s, conn, 1, 1, i*part, want[:part])
		}
		if got := read(t, s, conn, 1, 1); got != want {
			t.Fatalf("body %d has %d bytes", conn, len(got))
		}
		if used, most := maxMemory-s.room, maxSmall*(int(conn)+1); used != min(most, maxMemory) {
			t.Fatalf("%d bytes in memory after body %d", used, conn)
		}
	}
}

func TestHole(t *testing.T) {
	s := newStore(t)
	add(t, s, 1, 1, 1, 0, "abc")
	add(t, s, 1, 1, 1, 5, "fg")
	if got := read(t, s, 1, 1, 1); got != "abc\x00\x00fg" {
		t.Errorf("%q", got)
	}
}

func TestExtentsMerge(t *testing.T) {
	for room, want := range map[int]int{0: 1, 500: 2, maxMemory: 1} {
		s := newStore(t)
		s.room = room
		for i := range 1000 {
			add(t, s, 1, 1, 1, uint64(i), "x")
		}
		if n := len(s.bodies[key{1, 1, 1}].extents); n != want {
			t.Errorf("%d extents for one run of bytes, want %d", n, want)
		}
	}
}

func TestAwait(t *testing.T) {
	s := newStore(t)
	var done []string
	await := func(name string, stream uint64, req, resp uint64) {
		s.Await(1, stream, [2]uint64{req, resp}, func() {
			done = append(done, name)
			s.Forget(1, stream) // from within
		})
	}
	await("empty", 1, 0, 0)
	await("both", 2, 2, 3)
	await("never", 3, 0, 10)
	await("never either", 4, 0, 10)
	add(t, s, 1, 2, 0, 0, "ab")
	add(t, s, 1, 2, 1, 0, "ab")
	if !slices.Equal(done, []string{"empty"}) {
		t.Errorf("done too early: %v", done)
	}
	add(t, s, 1, 2, 1, 2, "c")
	add(t, s, 1, 5, 1, 0, "xyz")
	await("had", 5, 0, 3)
	if !slices.Equal(done, []string{"empty", "both", "had"}) {
		t.Errorf("done: %v", done)
	}
	s.Close()
	if !slices.Equal(done, []string{"empty", "both", "had", "never", "never either"}) {
		t.Errorf("after Close: %v", done)
	}
	if err := s.Add(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Payload: []byte("x")}); err == nil {
		t.Error("Add after Close is no error")
	}
}
