package natsbus

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"clipper/bus"
	"github.com/rs/zerolog"
)

func testLog() zerolog.Logger { return zerolog.New(os.Stderr).Level(zerolog.WarnLevel) }

// A stage that is never killed, as a base line.
func TestRunStage(t *testing.T) {
	s := startServer(t)
	tr := traffic{conns: 40, size: 100_000, seed: 1}
	feedErr := make(chan error, 1)
	go func() { feedErr <- tr.feed(t.Context(), connect(t, s.Access(), "source")) }()
	b := connect(t, s.Access(), "toy")
	if err := RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog()}); err != nil {
		t.Fatal(err)
	}
	if err := <-feedErr; err != nil {
		t.Fatal(err)
	}
	if err := tr.check(t.Context(), connect(t, s.Access(), "sink"), 0); err != nil {
		t.Fatal(err)
	}
}

// cutToy is cut off at its nth emit.
type cutToy struct {
	*toy
	n   int
	cut func()
}

func (c *cutToy) Process(r *bus.Record, emit func(*bus.Record)) {
	c.toy.Process(r, func(r *bus.Record) {
		if c.n--; c.n == 0 {
			c.cut()
		}
		emit(r)
	})
}

// runCutOff runs a stage that is cut off again and again, each time another one
// with options of its own, to its end, and returns how often it was.
func runCutOff(t *testing.T, b *Bus, stage func(cuts int, cut context.CancelFunc) bus.Stage, options func() StageOptions) (cuts int) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		err := RunStage(ctx, b, 0, func() bus.Stage { return stage(cuts, cancel) }, options())
		cancel()
		switch {
		case err == nil:
			return cuts
		case !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
		cuts++
	}
}

// A stage that is cut off in the middle again and again, with small batches, so
// that the cuts fall within the output of one message too.
func TestRunStageCutOff(t *testing.T) {
	for seed := range uint64(6) {
		s := startServer(t)
		tr := traffic{conns: 100, size: 60_000, seed: seed, pace: time.Duration(seed%3) * 200 * time.Microsecond}
		source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
		done := make(chan error, 2)
		go func() { done <- tr.feed(t.Context(), source) }()
		go func() { done <- tr.check(t.Context(), sink, 0) }()
		rng := rand.New(rand.NewPCG(seed, 0))
		b := connect(t, s.Access(), "toy")
		cuts := runCutOff(t, b, func(cuts int, cut context.CancelFunc) bus.Stage {
			return withoutSnapshots{&cutToy{makeToy(), 1 + rng.IntN(700*(1+cuts/8)), cut}}
		}, func() StageOptions {
			return StageOptions{Log: testLog(), batchBytes: 300 + rng.IntN(20_000)}
		})
		for range 2 {
			if err := <-done; err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		t.Logf("seed %d: cut off %d times", seed, cuts)
		s.Close()
	}
}

// Other processes take a partition over, some at the same time: one goes on, the
// others end, the output stays exact.
func TestRunStageFenced(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	tr := traffic{conns: 80, size: 60_000, seed: 3, pace: 300 * time.Microsecond}
	source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
	done := make(chan error, 2)
	go func() { done <- tr.feed(t.Context(), source) }()
	go func() { done <- tr.check(t.Context(), sink, 0) }()
	const stages = 5
	results := make(chan error, stages)
	for n := range stages {
		b := connect(t, s.Access(), "toy")
		go func() { results <- RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog()}) }()
		if n+1 < stages {
			time.Sleep(rand.N(60 * time.Millisecond))
		}
	}
	complete := 0
	for range stages {
		switch err := <-results; {
		case err == nil:
			complete++
		case !errors.Is(err, ErrFenced):
			t.Error(err)
		}
	}
	if complete == 0 {
		t.Error("no stage came to the end")
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Who loses a later output while the first is its own begins again; who has lost
// the first ends.
func TestRunStageKeepsFirstOutput(t *testing.T) {
	s := startServer(t)
	tr := traffic{conns: 80, size: 60_000, seed: 4, pace: 300 * time.Microsecond}
	source, other := connect(t, s.Access(), "source"), connect(t, s.Access(), "other")
	fed, ran := make(chan error, 1), make(chan error, 1)
	go func() { fed <- tr.feed(t.Context(), source) }()
	b := connect(t, s.Access(), "toy")
	go func() { ran <- RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog()}) }()
	if err := other.Follow(t.Context(), bus.Body, 0, 1, func(m *Batch) error {
		if m.Count > 0 {
			return ErrStop
		}
		return m.Err
	}); err != nil {
		t.Fatal(err)
	}
	openPublisher(t, other, bus.Body, 0)
	for _, c := range []chan error{fed, ran} {
		if err := <-c; err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.check(t.Context(), other, 0); err != nil {
		t.Error(err)
	}

	r := &runner{bus: b, stage: newToy()}
	if err := r.openOutputs(t.Context()); err != nil {
		t.Fatal(err)
	}
	openPublisher(t, other, bus.Plain, 0)
	if err := r.holdsFirst(t.Context()); !errors.Is(err, ErrFenced) {
		t.Errorf("after another took the first output: %v", err)
	}
}

// A restart of what is complete does nothing.
func TestRunStageComplete(t *testing.T) {
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	for _, l := range []bus.Layer{bus.TCP, bus.UDP, bus.Keys} {
		p := openPublisher(t, b, l, 0)
		if err := p.Publish(t.Context(), &bus.Record{Layer: l, Type: bus.EOS}); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := RunStage(t.Context(), b, 0, newToy, StageOptions{Log: testLog()}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if err := b.Follow(t.Context(), bus.Plain, 0, 0, func(m *Batch) error { n += int(m.Count); return m.Err }); err != nil || n != 1 {
		t.Errorf("%d records: %v", n, err)
	}
}

// Input that gives nothing is not read again by every restart, and a stage that
// reads nothing writes nothing.
func TestWatermark(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s.Access(), "test")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go RunStage(ctx, b, 0, func() bus.Stage { return &pass{bus.TCP, bus.Plain, bus.Body} }, StageOptions{})
	p := openPublisher(t, b, bus.TCP, 0)
	for n := range 5 {
		if err := p.Publish(ctx, &bus.Record{Layer: bus.TCP, Type: bus.Data, Offset: uint64(n), Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	last := streamState(t, b, bus.TCP).LastSeq
	if err := b.Follow(ctx, bus.Body, 0, 0, func(m *Batch) error {
		if m.Source == last && m.Low == last+1 && m.Count == 0 {
			return ErrStop
		}
		return m.Err
	}); err != nil {
		t.Fatal(err)
	}
	before := streamState(t, b, bus.Body).LastSeq
	time.Sleep(2 * tickInterval)
	if after := streamState(t, b, bus.Body).LastSeq; after != before {
		t.Errorf("%d empty batches without input", after-before)
	}
}
