package ring

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"
)

func newRing(t testing.TB) *Ring {
	t.Helper()
	f, err := Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r, err := Open(int(f.Fd()), new(uint64))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// reserve and publish are what a writer does.
func reserve(r *Ring) (pos uint64, ok bool) {
	pos = atomic.LoadUint64(r.u64(offCursor))
	o, base := at(pos)
	if atomic.LoadUint64(r.u64(o)) != base {
		return 0, false
	}
	atomic.StoreUint64(r.u64(offCursor), pos+1)
	return pos, true
}

func publish(r *Ring, pos uint64, line string) bool {
	o, base := at(pos)
	s := r.mem[o : o+SlotSize]
	s[20], s[21], s[22], s[23] = KindLine, byte(len(line)), 0, 0
	copy(s[DataAt:], line)
	return atomic.CompareAndSwapUint64(r.u64(o), base, base+1)
}

func emit(t *testing.T, r *Ring, line string) {
	t.Helper()
	pos, ok := reserve(r)
	if !ok || !publish(r, pos, line) {
		t.Fatalf("no room for %s", line)
	}
}

func take(r *Ring) (lines []string) {
	for _, rec := range r.Take(nil, Slots) {
		lines = append(lines, rec.Line)
		r.Release(rec)
	}
	r.Advance(time.Now(), time.Hour)
	return lines
}

func TestRing(t *testing.T) {
	r := newRing(t)
	for round := range 3 * Slots {
		emit(t, r, "a")
		if got := take(r); len(got) != 1 || got[0] != "a" {
			t.Fatalf("round %d: %q", round, got)
		}
	}
}

func TestFull(t *testing.T) {
	r := newRing(t)
	for range Slots {
		emit(t, r, "x")
	}
	if _, ok := reserve(r); ok {
		t.Fatal("a full ring takes one more")
	}
	if got := take(r); len(got) != Slots {
		t.Fatalf("%d records", len(got))
	}
	emit(t, r, "y")
}

func TestNotReleased(t *testing.T) {
	r := newRing(t)
	emit(t, r, "a")
	r.Take(nil, 10) // by a reader that is killed
	again := &Ring{FD: r.FD, mem: r.mem, pos: r.pos}
	if got := take(again); len(got) != 1 {
		t.Fatalf("the successor got %q", got)
	}
}

func TestDeadWriter(t *testing.T) {
	r := newRing(t)
	dead, _ := reserve(r)
	emit(t, r, "a")
	if got := take(r); len(got) != 1 || got[0] != "a" {
		t.Fatalf("behind a reserved slot: %q", got)
	}
	if *r.pos != dead {
		t.Fatal("went past a slot that may still be published")
	}
	now := time.Now()
	r.Advance(now, time.Second)
	r.Advance(now.Add(2*time.Second), time.Second)
	if *r.pos != dead+2 || r.Dropped() != 1 {
		t.Fatalf("position %d, dropped %d", *r.pos, r.Dropped())
	}
	if publish(r, dead, "late") {
		t.Fatal("a slot that was given up was published")
	}
	for range 2 * Slots {
		emit(t, r, "b")
		take(r)
	}
}

// FuzzHostile: whatever a program writes into the ring, the reader returns.
func FuzzHostile(f *testing.F) {
	f.Add(uint64(1), uint64(0), make([]byte, SlotSize))
	f.Add(uint64(1<<63), uint64(1), []byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 1, 1, 3, 255, 255, 255})
	f.Fuzz(func(t *testing.T, cursor, seen uint64, slot []byte) {
		r := newRing(t)
		binary.LittleEndian.PutUint64(r.mem[offCursor:], cursor)
		copy(r.mem[header:header+SlotSize], slot)
		for range 3 {
			for _, rec := range r.Take(nil, 100) {
				if len(rec.Line) > 2*DataSize+2 {
					t.Fatalf("line of %d bytes", len(rec.Line))
				}
				r.Release(rec)
			}
			r.Advance(time.Now(), 0)
		}
	})
}
