package cdpgw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
)

// role is the name of the role.
const role = "cdpgw"

// memoryLimit (bytes) makes the garbage collector keep the role small; what is
// alive is bounded far below it.
const memoryLimit = 120 << 20

// Main is the role "cdpgw": it follows the layers HTTP, Body and Proc of the
// session that the environment names (CLIPPER_ACCESS), with the Options of
// natsbus.OptionsEnv, and serves until SIGTERM or SIGINT, also after the layers ended.
// It returns the exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "clipper cdpgw:", err)
		return 125
	}
	return 0
}

func run(ctx context.Context) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	o, err := OptionsFromEnv()
	if err != nil {
		return err
	}
	if o.StatusFD != 0 {
		f := os.NewFile(uintptr(o.StatusFD), "status")
		if f == nil {
			return fmt.Errorf("cdpgw: inherited descriptor %d is not open", o.StatusFD)
		}
		syscall.CloseOnExec(o.StatusFD)
		o.OnStatus = newStatusWriter(f).tell
	}
	access, err := natsbus.AccessFromEnv()
	if err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, 10*time.Second)
	b, err := natsbus.Connect(connecting, access, role)
	cancel()
	if err != nil {
		return err
	}
	defer b.Close()
	o.Plain = func(ctx context.Context, conn bus.ConnID, each func(*bus.Record) bool) error {
		return readPlain(ctx, b, conn, each)
	}
	o.Conditions = b.AskConditions
	g, err := New(o)
	if err != nil {
		return err
	}
	defer g.Close()
	g.mu.Lock()
	g.translate.ExpectProcesses()
	g.mu.Unlock()
	g.notify()
	return g.follow(ctx, b)
}

// procLead is how long the process events have for a lead, so that what is
// already in the log finds its processes known.
const procLead = 300 * time.Millisecond

// follow feeds the gateway from all partitions of its layers until ctx ends,
// also after they ended.
func (g *Gateway) follow(ctx context.Context, b *natsbus.Bus) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var open sync.WaitGroup
	var records, bytes atomic.Uint64
	start := func(l bus.Layer, p int, drained func()) {
		open.Go(func() {
			err := b.Follow(ctx, l, p, 1, func(batch *natsbus.Batch) error {
				for r := range batch.Records() {
					g.Process(r)
					records.Add(1)
					bytes.Add(uint64(len(r.Payload)))
				}
				if batch.Drained {
					drained()
				}
				return nil
			})
			if err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("cdpgw: follow %s %d: %w", l, p, err))
			}
			drained()
		})
	}
	lead := make(chan struct{}, bus.ProcWriters)
	for p := range bus.Proc.StreamCount(b.Partitions()) {
		start(bus.Proc, p, sync.OnceFunc(func() { lead <- struct{}{} }))
	}
	waiting, waited := context.WithTimeout(ctx, procLead)
	defer waited()
	for range bus.Proc.StreamCount(b.Partitions()) {
		select {
		case <-lead:
		case <-waiting.Done():
		}
	}
	for _, l := range []bus.Layer{bus.HTTP, bus.Body} {
		for p := range l.StreamCount(b.Partitions()) {
			start(l, p, func() {})
		}
	}
	go func() {
		open.Wait()
		g.Flush()
	}()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-beat.C:
			// Its loss only means that nobody learns how this role fares.
			_ = b.PublishHealth(natsbus.Health{Role: role, InRecords: records.Load(), InBytes: bytes.Load()})
		}
	}
}

// readPlain looks through what is stored of the layer Plain for a connection.
// It is for the rare click on a connection that is not HTTP; following the layer
// all the time would double the traffic of the bus.
func readPlain(ctx context.Context, b *natsbus.Bus, conn bus.ConnID, each func(*bus.Record) bool) error {
	for p := range bus.Plain.StreamCount(b.Partitions()) {
		found := false
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		err := b.Follow(ctx, bus.Plain, p, 1, func(batch *natsbus.Batch) error {
			for r := range batch.Records() {
				if r.Conn != conn {
					continue
				}
				found = true
				if !each(r) || r.Type == bus.End {
					return natsbus.ErrStop
				}
			}
			if batch.Drained {
				return natsbus.ErrStop
			}
			return nil
		})
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if found {
			return nil
		}
	}
	return nil
}
