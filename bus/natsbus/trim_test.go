package natsbus

import (
	"testing"
	"time"

	"clipper/bus"
	"github.com/nats-io/nats.go/jetstream"
)

func streamState(t *testing.T, b *Bus, l bus.Layer) jetstream.StreamState {
	t.Helper()
	st, err := b.jetstream(l).Stream(t.Context(), bus.StreamName("t1", l, 0))
	if err != nil {
		t.Fatal(err)
	}
	return st.CachedInfo().State
}

// A session longer than its streams: everything arrives, nothing is held up for
// good, the streams stay within their limits.
func TestTrim(t *testing.T) {
	t.Parallel()
	const limit, frames, size = 16 << 20, 60_000, 1500
	s := startServer(t, func(c *ServerConfig) { c.StreamBytes, c.trimEvery = limit, 50*time.Millisecond })
	wait := pipeline(t, s)
	p := openPublisher(t, connect(t, s.Access(), "source"), bus.Frames, 0)
	done := make(chan error, 1)
	go func() { done <- publishFrames(t.Context(), p, 1, frames, size) }()
	sink := connect(t, s.Access(), "sink")
	n, missed := 0, uint64(0)
	if err := sink.Follow(t.Context(), bus.Body, 0, 0, func(m *Batch) error {
		missed += m.Missed
		for r := range m.Records() {
			if n++; r.Type != bus.EOS && r.Offset != uint64(n) {
				t.Fatalf("frame %d, want %d", r.Offset, n)
			}
		}
		return m.Err
	}); err != nil {
		t.Fatal(err)
	}
	if n != frames+1 || missed > 0 {
		t.Errorf("%d frames of %d, %d batches missed", n-1, frames, missed)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wait()
	for _, l := range []bus.Layer{bus.Frames, bus.TCP, bus.Plain, bus.Body} {
		st := streamState(t, sink, l)
		if st.Bytes > limit || st.FirstSeq < 2 {
			t.Errorf("layer %v: %d MiB from %d", l, st.Bytes>>20, st.FirstSeq)
		}
	}
	// A late reader is told what it misses; a restarted source still finds its end.
	if err := sink.Follow(t.Context(), bus.Frames, 0, 0, func(m *Batch) error {
		if m.Missed == 0 || m.Missed != m.Seq-1 {
			t.Errorf("seq %d: missed %d", m.Seq, m.Missed)
		}
		return ErrStop
	}); err != nil {
		t.Fatal(err)
	}
	if p := openPublisher(t, sink, bus.Frames, 0); p.Last() == nil || p.Last().Type != bus.EOS {
		t.Errorf("last: %+v", p.Last())
	}
}

// Kills while the log is trimmed behind the stage.
func TestTrimKill9(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *ServerConfig) {
		c.StreamBytes, c.trimEvery = 12<<20, 100*time.Millisecond
		both := []bus.Layer{bus.Plain, bus.Body}
		c.readBy = map[bus.Layer]outputsOf{bus.TCP: {outputs: both}, bus.UDP: {outputs: both, second: true}}
	})
	// Connections so short that their history never fills the streams by itself.
	tr := traffic{conns: 2000, size: 20_000, seed: 11, pace: 150 * time.Microsecond, early: true}
	errs := make(chan error, 2)
	source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	go func() { errs <- tr.feed(t.Context(), source) }()
	go func() { errs <- tr.check(t.Context(), sink, 0) }()
	n := kill9(t, s.Access(), "toy", 15, 300*time.Millisecond)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	st := streamState(t, sink, bus.TCP)
	t.Logf("killed %d times; %d of %d messages left", n, st.Msgs, st.LastSeq)
	if st.FirstSeq < 2 {
		t.Error("nothing was trimmed: the test did not meet its case")
	}
}

// keep is a stage with a connection that never ends.
type keep struct{ pass }

func (k *keep) Low() uint64 { return 1 }

// An open connection pins the log; it must not hold the traffic up.
func TestTrimPinned(t *testing.T) {
	t.Parallel()
	const frames = 30_000
	s := startServer(t, func(c *ServerConfig) { c.StreamBytes, c.trimEvery = 16<<20, 50*time.Millisecond })
	stage := connect(t, s.Access(), "stage")
	done := make(chan error, 2)
	go func() {
		newStage := func() bus.Stage { return &keep{pass{bus.Plain, bus.Body, bus.HTTP}} }
		done <- RunStage(t.Context(), stage, 0, newStage, StageOptions{Log: testLog()})
	}()
	p := openPublisher(t, connect(t, s.Access(), "source"), bus.Plain, 0)
	go func() { done <- publishFrames(t.Context(), p, 1, frames, 1500) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// However much was consumed, a restarted writer finds its last batch.
func TestTrimKeepsLastBatch(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	p := openPublisher(t, b, bus.TCP, 0)
	for n := range 3 {
		if err := p.Publish(t.Context(), &bus.Record{Layer: bus.TCP, Type: bus.Data, Offset: uint64(n)}); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	openPublisher(t, b, bus.TCP, 0) // a claim comes last
	last := streamState(t, b, bus.TCP).LastSeq
	o, err := b.openOutput(t.Context(), bus.Plain, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.send(t.Context(), bus.Progress{Source: last, Low: last + 1}); err != nil {
		t.Fatal(err)
	}
	if err := o.sender.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream, err := b.main.js.Stream(t.Context(), bus.StreamName("t1", bus.TCP, 0))
	if err != nil {
		t.Fatal(err)
	}
	trim := &trimmer{b, readBy, func(string) bool { return true }, &s.forced}
	if err := trim.trimStream(t.Context(), bus.TCP, 0, stream.CachedInfo()); err != nil {
		t.Fatal(err)
	}
	if st := streamState(t, b, bus.TCP); st.Msgs != 2 {
		t.Errorf("%d messages are left, want the last batch and a claim", st.Msgs)
	}
	if p := openPublisher(t, b, bus.TCP, 0); p.Last() == nil || p.Last().Offset != 2 {
		t.Errorf("last: %+v", p.Last())
	}
}
