package natsbus

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clipper/bus"
)

// pass gives what it takes, on the next layer, and nothing on another.
type pass struct{ from, to, empty bus.Layer }

func (p *pass) Takes() []bus.Layer { return []bus.Layer{p.from} }
func (p *pass) Low() uint64        { return bus.None }
func (p *pass) Gives() []bus.Layer {
	if p.empty == 0 {
		return []bus.Layer{p.to}
	}
	return []bus.Layer{p.empty, p.to}
}

func (p *pass) Process(r *bus.Record, emit func(*bus.Record)) {
	out := *r
	out.Layer = p.to
	emit(&out)
	if r.Type == bus.EOS && p.empty != 0 {
		emit(&bus.Record{Layer: p.empty, Type: bus.EOS})
	}
}

// pipeline runs three stages between Frames and Body, each with a connection of its own.
func pipeline(t testing.TB, s *Server) (wait func()) {
	done := make(chan error, 3)
	for _, l := range []pass{{bus.Frames, bus.TCP, bus.UDP}, {bus.TCP, bus.Plain, 0}, {bus.Plain, bus.Body, bus.HTTP}} {
		b := connect(t, s.Access().WithoutKeys(), "pass")
		go func() {
			done <- RunStage(t.Context(), b, 0, func() bus.Stage { return &l }, StageOptions{Log: testLog()})
		}()
	}
	return func() {
		for range 3 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

func BenchmarkStartServer(b *testing.B) {
	for range b.N {
		s := startServer(b, func(c *ServerConfig) { c.Partitions = 4; c.StoreDir = filepath.Join(b.TempDir(), "js") })
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}

// A record through source, three stages and sink, one at a time.
func BenchmarkLatency(b *testing.B) {
	s := startServer(b)
	wait := pipeline(b, s)
	p := openPublisher(b, connect(b, s.Access(), "source"), bus.Frames, 0)
	arrived := make(chan time.Time, 1)
	sink := connect(b, s.Access(), "sink")
	go sink.Follow(b.Context(), bus.Body, 0, 0, func(m *Batch) error {
		for range m.Records() {
			arrived <- time.Now()
		}
		return nil
	})
	var took []time.Duration
	one := func(n int) time.Duration {
		start := time.Now()
		if err := p.Publish(b.Context(), frame(n, 500)); err != nil {
			b.Fatal(err)
		}
		if err := p.Send(b.Context()); err != nil {
			b.Fatal(err)
		}
		return (<-arrived).Sub(start)
	}
	for n := range 20 {
		one(n)
	}
	n := 0
	for b.Loop() {
		took = append(took, one(n))
		n++
		time.Sleep(time.Millisecond)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	if err := p.Publish(b.Context(), &bus.Record{Layer: bus.Frames, Type: bus.EOS}); err != nil {
		b.Fatal(err)
	}
	p.Flush(context.Background())
	<-arrived
	wait()
}

// All of 64 MiB of frames through source, three stages and sink, in one process.
func BenchmarkPipeline(b *testing.B) {
	const size, frames = 1500, 64 << 20 / 1500
	b.SetBytes(size * frames)
	for b.Loop() {
		b.StopTimer()
		s := startServer(b)
		wait := pipeline(b, s)
		p := openPublisher(b, connect(b, s.Access(), "source"), bus.Frames, 0)
		sink := connect(b, s.Access(), "sink")
		r := frame(1, size)
		b.StartTimer()
		go func() {
			for n := range frames {
				r.Offset = uint64(n)
				if err := p.Publish(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
			}
			p.Publish(b.Context(), &bus.Record{Layer: bus.Frames, Type: bus.EOS})
			p.Flush(b.Context())
		}()
		n := 0
		if err := sink.Follow(b.Context(), bus.Body, 0, 0, func(m *Batch) error {
			for range m.Records() {
				n++
			}
			return m.Err
		}); err != nil || n != frames+1 {
			b.Fatal(n, err)
		}
		wait()
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
}
