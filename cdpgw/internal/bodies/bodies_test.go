package bodies

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"clipper/bus"
	"clipper/cdpgw/internal/spill"
)

func open(t *testing.T, mem, disk int64) *Store {
	t.Helper()
	f := spill.New(t.TempDir())
	t.Cleanup(func() { f.Close() })
	return New(f, mem, disk)
}

// What is read is what was added, wherever it is kept: against a plain map.
func TestModel(t *testing.T) {
	s := open(t, 40<<10, 1<<30)
	r := rand.New(rand.NewPCG(1, 2))
	model := map[Key][]byte{}
	for range 20000 {
		k := Key{Conn: bus.ConnID(r.IntN(50)), Stream: 1}
		p := make([]byte, r.IntN(300))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		have := model[k]
		overlap := min(len(have), r.IntN(20), len(p))
		copy(p, have[len(have)-overlap:])
		s.Add(k, uint64(len(have)-overlap), p)
		model[k] = append(have, p[overlap:]...)
		if n := int64(len(model[k])); n > 0 {
			off := r.Int64N(n)
			want := r.Int64N(n-off) + 1
			got, err := s.Read(nil, k, off, want)
			if err != nil || !bytes.Equal(got, model[k][off:off+want]) {
				t.Fatalf("%v: %d bytes at %d of %d: %v", k, want, off, n, err)
			}
		}
	}
	if s.mem > s.maxMem {
		t.Errorf("%d bytes in memory, limit %d", s.mem, s.maxMem)
	}
	var total int64
	for k, b := range model {
		if s.Len(k) != int64(len(b)) {
			t.Errorf("%v: %d bytes, want %d", k, s.Len(k), len(b))
		}
		total += int64(len(b))
	}
	if s.mem+s.disk != total {
		t.Errorf("counted %d+%d bytes of %d", s.mem, s.disk, total)
	}
}

// The oldest go first, and say so; the newest stay.
func TestEviction(t *testing.T) {
	s := open(t, 1000, 5000)
	body := bytes.Repeat([]byte("x"), 100)
	for i := range 500 {
		s.Add(Key{Conn: bus.ConnID(i)}, 0, body)
	}
	for i := range 500 {
		_, err := s.Read(nil, Key{Conn: bus.ConnID(i)}, 0, 100)
		if old := i < 430; old != errors.Is(err, ErrEvicted) {
			if i < 430 || i > 445 { // about the limit
				t.Errorf("body %d: %v", i, err)
			}
		}
	}
	// A body that was evicted stays so when it grows.
	s.Add(Key{Conn: 0}, 100, body)
	if _, err := s.Read(nil, Key{Conn: 0}, 0, 1); !errors.Is(err, ErrEvicted) {
		t.Error(err)
	}
}

func TestCount(t *testing.T) {
	s := open(t, 1<<20, 1<<20)
	for i := range maxBodies + 10 {
		s.Announce(Key{Conn: bus.ConnID(i)}, 1)
	}
	if len(s.bodies) != maxBodies || s.age.Len() != maxBodies {
		t.Errorf("%d bodies, %d in order", len(s.bodies), s.age.Len())
	}
	if _, err := s.Read(nil, Key{Conn: 1}, 0, 1); !errors.Is(err, ErrEvicted) {
		t.Error(err)
	}
}

// A file that can't be written costs the body, not the process.
func TestNoDisk(t *testing.T) {
	s := New(spill.New("/nonexistent"), 100, 1<<20)
	s.Add(Key{Conn: 1}, 0, make([]byte, 1000))
	if _, err := s.Read(nil, Key{Conn: 1}, 0, 1); !errors.Is(err, ErrEvicted) {
		t.Error(err)
	}
	s.Add(Key{Conn: 2}, 0, make([]byte, 50))
	if b, err := s.Read(nil, Key{Conn: 2}, 0, 50); err != nil || len(b) != 50 {
		t.Error(len(b), err)
	}
}

func TestWait(t *testing.T) {
	s := open(t, 1<<20, 1<<20)
	k := Key{Conn: 1}
	s.Announce(k, 4)
	done := make(chan struct{})
	go func() { s.Wait(t.Context(), k, time.Minute); close(done) }()
	s.Add(k, 0, []byte("ab"))
	select {
	case <-done:
		t.Fatal("half of the body was enough")
	case <-time.After(20 * time.Millisecond):
	}
	s.Add(k, 2, []byte("cd"))
	<-done
	s.Announce(k, 5)
	s.Wait(t.Context(), k, time.Millisecond) // comes back
}
