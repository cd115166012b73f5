package natsbus

import (
	"testing"

	"clipper/bus"
)

// After a purge a stage decodes the log again; who had read everything gets the
// same again.
func TestPurgeReplays(t *testing.T) {
	s := startServer(t)
	tr := traffic{conns: 20, size: 20_000, seed: 1}
	b := connect(t, s.Access(), "toy")
	if err := tr.feed(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	var last uint64
	var want [2]int // records and bytes of the first run
	for i := range 3 {
		if err := RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog(), batchBytes: 1000}); err != nil {
			t.Fatal(err)
		}
		var got [2]int
		err := b.Follow(t.Context(), bus.Plain, 0, last+1, func(m *Batch) error {
			last = m.Seq
			for r := range m.Records() {
				got[0]++
				got[1] += len(r.Payload)
			}
			return m.Err
		})
		if i == 0 {
			want = got
		}
		if err != nil || got != want || got[1] == 0 {
			t.Fatalf("run %d gave %v, want %v: %v", i, got, want, err)
		}
		if err := b.Purge(t.Context(), bus.Plain, bus.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := connect(t, s.TapAccess(), "tap").Purge(t.Context(), bus.Plain); err == nil {
		t.Error("a tap can purge")
	}
}
