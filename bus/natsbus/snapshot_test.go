package natsbus

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// withoutSnapshots hides that a stage is a bus.Snapshotter.
type withoutSnapshots struct{ bus.Stage }

// restoredToy tells whether it was restored, or refuses that.
type restoredToy struct {
	*cutToy
	restored *int
	refuse   error
}

func (r *restoredToy) Restore(b []byte, pos uint64) error {
	if r.refuse != nil {
		return r.refuse
	}
	*r.restored++
	return r.cutToy.Restore(b, pos)
}

// Connections that live as long as the traffic, a stage that is cut off again and
// again: it goes on from its last snapshot.
func TestSnapshotCutOff(t *testing.T) {
	restored := 0
	for seed := range uint64(4) {
		s := startServer(t)
		tr := traffic{conns: 9, size: 1_000_000, seed: seed, pace: time.Duration(seed%2) * 200 * time.Microsecond}
		source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
		done := make(chan error, 2)
		go func() { done <- tr.feed(t.Context(), source) }()
		go func() { done <- tr.check(t.Context(), sink, 0) }()
		rng := rand.New(rand.NewPCG(seed, 0))
		b := connect(t, s.Access(), "toy")
		cuts := runCutOff(t, b, func(cuts int, cut context.CancelFunc) bus.Stage {
			return &restoredToy{&cutToy{makeToy(), 1 + rng.IntN(100*(1+cuts)), cut}, &restored, nil}
		}, func() StageOptions {
			return StageOptions{Log: testLog(), batchBytes: 300 + rng.IntN(20_000), snapshotBytes: 1 + rng.IntN(200_000)}
		})
		for range 2 {
			if err := <-done; err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		t.Logf("seed %d: cut off %d times, %d restored so far", seed, cuts, restored)
		s.Close()
	}
	if restored == 0 {
		t.Error("no snapshot was used: the test did not meet its case")
	}
}

// A stage that is swapped for one that cannot use the snapshot, or should not:
// the log reaches back to its beginning, so nothing is lost.
func TestSnapshotOfAnother(t *testing.T) {
	for _, c := range []struct {
		name     string
		next     func(*restoredToy) bus.Stage
		program  string
		restored int
	}{
		{"same", func(r *restoredToy) bus.Stage { return r }, "first", 1},
		{"another program", func(r *restoredToy) bus.Stage { return r }, "second", 0},
		{"refused", func(r *restoredToy) bus.Stage { r.refuse = errors.New("unknown version"); return r }, "first", 0},
		{"not stored", func(r *restoredToy) bus.Stage { return withoutSnapshots{r} }, "first", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t)
			tr := traffic{conns: 9, size: 300_000, seed: 1}
			if err := tr.feed(t.Context(), connect(t, s.Access(), "source")); err != nil {
				t.Fatal(err)
			}
			b := connect(t, s.Access(), "toy")
			ctx, cancel := context.WithCancel(t.Context())
			restored := 0
			stage := func(n int) *restoredToy { return &restoredToy{&cutToy{makeToy(), n, cancel}, &restored, nil} }
			o := StageOptions{Log: testLog(), batchBytes: 5000, snapshotBytes: 50_000, program: "first"}
			if err := RunStage(ctx, b, 0, func() bus.Stage { return stage(400) }, o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			o.program = c.program
			if err := RunStage(t.Context(), b, 0, func() bus.Stage { return c.next(stage(0)) }, o); err != nil {
				t.Fatal(err)
			}
			if restored != c.restored {
				t.Errorf("restored %d times, want %d", restored, c.restored)
			}
			if err := tr.check(t.Context(), connect(t, s.Access(), "sink"), 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// Small streams, a slow sink, and connections that never end: what they pin is
// more than the log may hold. With snapshots nothing of the log has to be given up
// that a restart needs, and the stage may be killed at any time.
func TestSnapshotSlowSink(t *testing.T) {
	t.Parallel()
	s := startServer(t, smallStreams)
	errs := make(chan error, 2)
	source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	go func() { errs <- longLived.feed(t.Context(), source) }()
	go func() { errs <- longLived.check(t.Context(), sink, 10*time.Millisecond) }()
	n := kill9(t, s.Access(), "toy", 8, 600*time.Millisecond)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := s.forced.Load(); n > 0 {
		t.Errorf("history was given up %d times", n)
	}
	if st := streamState(t, sink, bus.TCP); st.FirstSeq < 2 {
		t.Error("nothing was trimmed: the test did not meet its case")
	}
	t.Logf("killed %d times", n)
}

// The same by replay alone cannot be: the log fills up and holds up the sources,
// unless what a restart needs is given up.
func TestWithoutSnapshotsHistoryIsGivenUp(t *testing.T) {
	t.Parallel()
	s := startServer(t, smallStreams)
	errs := make(chan error, 2)
	source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	go func() { errs <- longLived.feed(t.Context(), source) }()
	go func() { errs <- longLived.check(t.Context(), sink, 0) }()
	kill9(t, s.Access(), "forgetful", 0, 0)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if s.forced.Load() == 0 {
		t.Error("the log of connections that never end found room")
	}
}

var longLived = traffic{conns: 8, size: 8_000_000, seed: 21, pace: 150 * time.Microsecond, early: true}

func smallStreams(c *ServerConfig) {
	c.StreamBytes, c.trimEvery = 12<<20, 50*time.Millisecond
	both := []bus.Layer{bus.Plain, bus.Body}
	c.readBy = map[bus.Layer]outputsOf{bus.TCP: {outputs: both}, bus.UDP: {outputs: both, second: true}}
}

// The stream of snapshots: any size, the last whole one counts, one writer.
func TestSnapshots(t *testing.T) {
	s := startServer(t, func(c *ServerConfig) { c.StreamBytes = 64 << 20 })
	b := connect(t, s.Access(), "test")
	src := snapshotSource{bus.Plain, 0, true}
	if snaps, last, err := b.openSnapshots(t.Context(), src); snaps != nil || last != nil || err != nil {
		t.Fatalf("before the first: %v %v %v", snaps, last, err)
	}
	first, err := b.makeSnapshots(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	defer first.sender.close()
	state := make([]byte, maxPayload+5)
	content(1, 0, state)
	for n, size := range []int{0, 1, maxPart, maxPart + 1, len(state)} {
		at := position{uint64(n), 7, 8}
		begin := first.sender.next
		if err := first.put(t.Context(), at, "p", state[:size]); err != nil {
			t.Fatal(err)
		}
		if err := first.trim(t.Context(), begin); err != nil {
			t.Fatal(err)
		}
		next, last, err := b.openSnapshots(t.Context(), src)
		if err != nil || last == nil || last.pos != at || last.program != "p" || !bytes.Equal(last.state, state[:size]) {
			t.Fatalf("%d bytes: %+v %v", size, last, err)
		}
		if err := first.put(t.Context(), position{99}, "p", state); !errors.Is(err, ErrFenced) {
			t.Fatalf("a writer that was taken over: %v", err)
		}
		first.sender.close()
		first = next
	}
	// One that was cut off does not count.
	if err := first.send(t.Context(), &bus.Record{Type: bus.Data, Payload: state[:10]}, position{100}); err != nil {
		t.Fatal(err)
	}
	if err := first.sender.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, last, err := b.openSnapshots(t.Context(), src)
	if err != nil || last == nil || last.pos[mainInput] != 4 {
		t.Fatalf("after one that was cut off: %+v %v", last, err)
	}
	next.sender.close()
}

// Kills between a snapshot and the trimming after it, and in the middle of one,
// leave room for the next.
func TestSnapshotsAfterKills(t *testing.T) {
	s := startServer(t, func(c *ServerConfig) { c.StreamBytes = 16 << 20 })
	b := connect(t, s.Access(), "test")
	src := snapshotSource{bus.Plain, 0, true}
	snaps, err := b.makeSnapshots(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	state := make([]byte, snaps.limit)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := range 5 {
		if err := snaps.put(ctx, position{uint64(n)}, "p", state); err != nil {
			t.Fatalf("snapshot %d: %v", n, err)
		}
		for off := 0; off < len(state)/2; off += maxPart { // one that is cut off
			if err := snaps.send(ctx, &bus.Record{Type: bus.Data, Offset: uint64(off), Payload: state[:maxPart]}, position{100}); err != nil {
				t.Fatal(err)
			}
		}
		if err := snaps.sender.flush(ctx); err != nil {
			t.Fatal(err)
		}
		for range 3 { // killed again before the next
			snaps.sender.close()
			var last *snapshot
			if snaps, last, err = b.openSnapshots(ctx, src); err != nil || last == nil || last.pos[mainInput] != uint64(n) || len(last.state) != len(state) {
				t.Fatalf("after snapshot %d: %+v %v", n, last, err)
			}
		}
	}
	info, err := snaps.sender.info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if pieces := uint64(len(state)+maxPart-1) / maxPart; info.State.Msgs > pieces+3 { // its end and two claims
		t.Errorf("%d messages are kept of a snapshot of %d", info.State.Msgs, pieces)
	}
	snaps.sender.close()
}

// Where no stream of snapshots can be made, the stage runs without.
func TestSnapshotNotPossible(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "toy")
	if _, err := b.keys.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "inTheWay", Subjects: []string{"clipper.t1.snapshot.>"}}); err != nil {
		t.Fatal(err)
	}
	tr := traffic{conns: 9, size: 100_000, seed: 1}
	if err := tr.feed(t.Context(), connect(t, s.Access(), "source")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := RunStage(t.Context(), b, 0, newToy, StageOptions{Log: zerolog.New(&log), snapshotBytes: 50_000}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "no snapshot") {
		t.Errorf("the log has %s", log.String())
	}
	if err := tr.check(t.Context(), connect(t, s.Access(), "sink"), 0); err != nil {
		t.Error(err)
	}
}
