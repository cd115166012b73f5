package reassembler_test

import (
	"math/rand/v2"
	"testing"

	"clipper/bus"
	"clipper/reassembler"
)

// A stage that is dropped at any message and replayed from its Low gives the
// same remaining output.
func TestReplay(t *testing.T) {
	var restarts, skipped int
	for seed := range *seeds {
		rng := rand.New(rand.NewPCG(seed, 3))
		frames := traffic(rng, 60)
		lows := map[uint64]uint64{} // after a message
		var full []*bus.Record
		s := reassembler.New("replay")
		for i, f := range frames {
			s.Process(f, func(r *bus.Record) { full = append(full, copyRecord(r)) })
			if i+1 == len(frames) || frames[i+1].Pos != f.Pos {
				lows[f.Pos] = s.Low()
			}
		}
		checkLife(t, full)
		last := frames[len(frames)-1].Pos
		for pos := uint64(1); pos < last; pos++ {
			low := min(lows[pos], pos+1)
			if low > 1 {
				skipped++
			}
			restarts++
			replayFrom(t, seed, frames, full, low, pos)
		}
		if lows[last] != bus.None {
			t.Errorf("seed %d: Low is %d after the end", seed, lows[last])
		}
	}
	if skipped < restarts/4 {
		t.Errorf("only %d of %d replays began after the first message: the test shows little", skipped, restarts)
	}
}

// replayFrom replays from low and compares what comes after pos with the tail
// of full.
func replayFrom(t *testing.T, seed uint64, frames, full []*bus.Record, low, pos uint64) {
	t.Helper()
	want := full
	for len(want) > 0 && want[0].Pos <= pos {
		want = want[1:]
	}
	s := reassembler.New("replay")
	for _, f := range frames {
		if f.Pos < low {
			continue
		}
		s.Process(f, func(r *bus.Record) {
			switch {
			case r.Pos <= pos || t.Failed():
			case len(want) == 0 || !equalRecords(r, want[0]):
				t.Errorf("seed %d, replay from %d for %d: got %s", seed, low, pos, describeRecord(r))
				if len(want) > 0 {
					t.Errorf("want %s", describeRecord(want[0]))
				}
			default:
				want = want[1:]
			}
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	if len(want) > 0 {
		t.Fatalf("seed %d, replay from %d for %d: missing %s", seed, low, pos, describeRecord(want[0]))
	}
}

// The output does not depend on how frames are spread over messages, but for
// the times of forgetting; and the same input gives the same output.
func TestDeterminism(t *testing.T) {
	for seed := range uint64(5) {
		frames := traffic(rand.New(rand.NewPCG(seed, 4)), 80)
		a, b := run(frames), run(frames)
		if len(a) != len(b) {
			t.Fatalf("seed %d: %d and %d records", seed, len(a), len(b))
		}
		for i := range a {
			if !equalRecords(a[i], b[i]) {
				t.Fatalf("seed %d: %s and %s", seed, describeRecord(a[i]), describeRecord(b[i]))
			}
		}
	}
}
