package httpdec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"clipper/bus"
)

// restart makes a stage of the snapshot of another one.
func restart(t testing.TB, s bus.Stage, pos uint64) bus.Stage {
	b := s.(bus.Snapshotter).AppendSnapshot([]byte("before"))
	b = bytes.TrimPrefix(b, []byte("before"))
	again := New().(bus.Snapshotter)
	if err := again.Restore(b, pos); err != nil {
		t.Fatal(err)
	}
	if b2 := again.AppendSnapshot(nil); !bytes.Equal(b, b2) {
		t.Fatalf("the snapshot of what was restored is another one:\n%q\n%q", b, b2)
	}
	if low := again.Low(); low != pos && low != bus.None || (low == bus.None) != (s.Low() == bus.None) {
		t.Fatalf("Low is %d after a restart at %d", low, pos)
	}
	return again
}

// runRestarted is run with a restart after each record that at chooses.
func runRestarted(t testing.TB, records []bus.Record, at func() bool) (lines []string) {
	s := New()
	emit := func(r *bus.Record) { lines = append(lines, show(r)) }
	for i := range records {
		s.Process(&records[i], emit)
		if at() {
			s = restart(t, s, records[i].Pos+1)
		}
	}
	s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
	return lines
}

// TestRestart restarts the decoder from a snapshot after every record, however
// the records are cut: the output is the same, line by line.
func TestRestart(t *testing.T) {
	for name, records := range scripts(t) {
		check := func(how string, cut []bus.Record, at func() bool) {
			t.Helper()
			want, got := run(t, cut), runRestarted(t, cut, at)
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s cut %s: %s", name, how, firstDifference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
		}
		always := func() bool { return true }
		check("not at all", records, always)
		check("every byte", cut(records, 1, nil), always)
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, 5))
			check(fmt.Sprintf("by seed %d", seed), cut(records, 30, rng), func() bool { return rng.IntN(3) == 0 })
		}
	}
}

func FuzzRestore(f *testing.F) {
	for _, records := range scripts(f) {
		s := New()
		for i := range records {
			s.Process(&records[i], func(*bus.Record) {})
			if i%3 == 1 {
				f.Add(s.(bus.Snapshotter).AppendSnapshot(nil))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New()
		if s.(bus.Snapshotter).Restore(b, 1) != nil {
			return
		}
		emit := func(r *bus.Record) { show(r) }
		for i := range 4 {
			for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "\x00\x00\x04\x01\x05\x00\x00\x00\x01\x82\x84\x86\x87", "\x81\x02ab5\r\nhello\r\n0\r\n\r\n"} {
				r := bus.Record{Layer: bus.Plain, Type: bus.Data, Conn: 1, Dir: bus.Dir(i & 1), Payload: []byte(text)}
				s.Process(&r, emit)
			}
		}
		s.Process(&bus.Record{Layer: bus.Plain, Type: bus.EOS}, emit)
	})
}
