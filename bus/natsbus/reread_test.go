package natsbus

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"clipper/bus"
)

// lazyToy is a toy that leaves what waits for a secret in the log, and is cut off at
// its nth emit.
type lazyToy struct {
	toy     *toy
	n       int
	cut     func()
	left    map[bus.ConnID]uint64 // message of the first record
	message uint64
	wanting bus.ConnID
	waits   func() // something was left
	rereads *int
}

func (t *lazyToy) Takes() []bus.Layer { return t.toy.Takes() }
func (t *lazyToy) Gives() []bus.Layer { return t.toy.Gives() }
func (t *lazyToy) Low() uint64        { return t.toy.Low() }

func (t *lazyToy) cutting(emit func(*bus.Record)) func(*bus.Record) {
	return func(r *bus.Record) {
		if t.n--; t.n == 0 {
			t.cut()
		}
		emit(r)
	}
}

func (t *lazyToy) Process(r *bus.Record, emit func(*bus.Record)) {
	if c := t.toy.conns[r.Conn]; c != nil && !c.open && r.Type != bus.Open && r.Layer == bus.TCP {
		if t.left[r.Conn] == 0 {
			t.left[r.Conn] = t.message
			t.waits()
		}
		return
	}
	t.toy.Process(r, t.cutting(emit))
	if r.Layer == bus.Keys && r.Type == bus.Secret {
		if s, err := bus.ParseSecret(r); err == nil {
			if id := bus.ConnID(binary.LittleEndian.Uint64(s.ClientRandom)); t.left[id] > 0 {
				t.wanting = id
			}
		}
	}
}

func (t *lazyToy) Message(l bus.Layer, seq uint64) {
	if l == bus.TCP {
		t.message = seq
	}
}

func (t *lazyToy) Again() (bus.Layer, uint64, bool) {
	return bus.TCP, t.left[t.wanting], t.wanting != 0
}

func (t *lazyToy) Reread(r *bus.Record, emit func(*bus.Record)) {
	switch c := t.toy.conns[t.wanting]; {
	case r.Type == bus.EOS:
		delete(t.left, t.wanting)
		t.wanting = 0
	case r.Conn == t.wanting && r.Type != bus.Open && c != nil:
		*t.rereads++
		t.toy.data(c, r, t.cutting(emit))
	}
}

// A stage that leaves records in the log and has them read again, cut off again and
// again: its output is exact.
func TestReread(t *testing.T) {
	rereads := 0
	for seed := range uint64(3) {
		s := startServer(t)
		tr := traffic{conns: 60, size: 60_000, seed: seed, noKeys: true}
		source, sink := connect(t, s.Access(), "source"), connect(t, s.Access(), "sink")
		done := make(chan error, 3)
		waits := make(chan struct{})
		waiting := sync.OnceFunc(func() { close(waits) })
		go func() { // secrets come when something waits for them
			<-waits
			done <- tr.feedKeys(t.Context(), source)
		}()
		go func() { done <- tr.feed(t.Context(), source) }()
		go func() { done <- tr.check(t.Context(), sink, 0) }()
		rng := rand.New(rand.NewPCG(seed, 0))
		b := connect(t, s.Access(), "toy")
		cuts := runCutOff(t, b, func(cuts int, cut context.CancelFunc) bus.Stage {
			return &lazyToy{toy: makeToy(), n: 1 + rng.IntN(700*(1+cuts/8)), cut: cut, left: map[bus.ConnID]uint64{}, waits: waiting, rereads: &rereads}
		}, func() StageOptions {
			return StageOptions{Log: testLog(), batchBytes: 300 + rng.IntN(20_000)}
		})
		for range 3 {
			if err := <-done; err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		t.Logf("seed %d: cut off %d times, %d records read again so far", seed, cuts, rereads)
		s.Close()
	}
	if rereads == 0 {
		t.Error("nothing was read again: the test did not meet its case")
	}
}
