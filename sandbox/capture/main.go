//go:build linux

package capture

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// Options of the role, as JSON in natsbus.OptionsEnv. Descriptors are numbers in the process of the role.
type Options struct {
	PacketFD int `json:"packetFd"` // socket that Setup was done on
	PageFD   int `json:"pageFd"`   // of NewPage

	// ReadyFD, if not 0, gets one byte when the role can be ended: from then on
	// SIGTERM makes it publish the rest of the ring and EOS. Frames are recorded
	// since Setup; the program need not wait for this. Processes that take over
	// later write nothing.
	ReadyFD int `json:"readyFd,omitempty"`
}

// Main is the role "capture": a Reader between the ring and the bus. It ends
// after SIGTERM, when all that was recorded until then is stored, with status 0;
// a second SIGTERM kills it. Any other end leaves the ring for a successor.
func Main() (status int) {
	ctx, stop := natsbus.RoleContext()
	context.AfterFunc(ctx, stop) // the second one acts as usual
	signal.Ignore(unix.SIGINT)   // of the terminal; it is meant for the program
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "clipper capture:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context) error {
	var o Options
	if err := natsbus.RoleOptions(&o); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	ring, err := Map(o.PacketFD, o.PageFD)
	if err != nil {
		return err
	}
	defer ring.Close()
	if o.ReadyFD != 0 {
		f := os.NewFile(uintptr(o.ReadyFD), "ready")
		if ring.page.ready.CompareAndSwap(0, 1) {
			f.Write([]byte{1})
		}
		f.Close()
	}
	access, err := natsbus.AccessFromEnv()
	if err != nil {
		return err
	}
	// What ctx ends is the recording, not the bus, which is needed for the rest.
	b, err := natsbus.Connect(context.Background(), access, "capture")
	if err != nil {
		return err
	}
	defer b.Close()
	var count counters
	out, closeAll, err := openOutputs(b, &count)
	if err != nil {
		return err
	}
	health := startHealth(b, &count, ring)
	defer health()
	if err := NewReader(ring, out).Run(ctx); err != nil {
		return err
	}
	s := ring.Stats()
	fmt.Fprintf(os.Stderr, "clipper capture: %d frames recorded, %d lost because the ring was full (%d times)\n", s.Packets-s.Drops, s.Drops, s.Freezes)
	return closeAll()
}

// counters are what the role says of itself.
type counters struct{ records, bytes atomic.Uint64 }

// onBus is a partition of the layer Frames on the bus.
type onBus struct {
	*natsbus.Publisher
	count *counters
}

func (p onBus) Publish(r *bus.Record) error {
	p.count.records.Add(1)
	p.count.bytes.Add(uint64(len(r.Payload)))
	return p.Publisher.Publish(context.Background(), r)
}

func (p onBus) Flush() error { return p.Publisher.Flush(context.Background()) }

func openOutputs(b *natsbus.Bus, count *counters) (out []Output, closeAll func() error, err error) {
	var open []*natsbus.Publisher
	for i := range b.Partitions() {
		p, err := b.OpenPublisher(context.Background(), bus.Frames, i)
		if err != nil {
			return nil, nil, fmt.Errorf("capture: partition %d of frames: %w", i, err)
		}
		open = append(open, p)
		o := Output{Publisher: onBus{p, count}}
		if last := p.Last(); last != nil {
			o.Resume, o.Ended = NextIndex(last), last.Type == bus.EOS
		}
		out = append(out, o)
	}
	return out, func() error {
		for _, p := range open {
			if err := p.Close(context.Background()); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// startHealth publishes the state of the role every second and, by the function
// that it returns, at the end.
func startHealth(b *natsbus.Bus, count *counters, ring *Ring) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	say := func(ended bool) {
		n, bytes := count.records.Load(), count.bytes.Load()
		b.PublishHealth(natsbus.Health{Role: "capture", InRecords: n, InBytes: bytes, OutRecords: n, OutBytes: bytes,
			Dropped: ring.Stats().Drops, Backlog: uint64(ring.waits()) + uint64(ring.page.waiting.Load()), Done: ended})
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say(false)
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-done
		say(true)
	}
}
