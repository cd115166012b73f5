package up

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/internal/sink"
)

// outputs follows the layers that the files and the terminal are made of.
type outputs struct {
	sink     *sink.Sink
	done     chan struct{} // closed when all of them have ended
	progress atomic.Uint64 // records so far
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

func (r *run) outputs(ctx context.Context) (*outputs, error) {
	keep := ""
	if r.recorder != nil {
		keep = r.recorder.Packets()
	}
	so := sink.Options{Keep: keep, KeepMax: r.o.KeepMax, HAR: r.o.HAR, JSON: r.o.JSON, KeyLog: r.o.KeyLog, Packets: r.o.Packets, Version: r.o.Version, Live: true, Dir: r.session.Dir, Terminal: r.term,
		Filter: r.o.Filter, Expect: r.o.Expect, Redact: r.o.Redact, Failed: func(err error) {
			r.lack(fmt.Errorf("%w; what was written before is whole, and everything else goes on", err))
		}}
	if r.screen != nil {
		so.View = r.screen.view
	}
	s, err := sink.New(so)
	if err != nil {
		return nil, err
	}
	if err := r.noteFiles(); err != nil {
		s.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	o := &outputs{sink: s, done: make(chan struct{}), cancel: cancel}
	layers := []bus.Layer{bus.HTTP, bus.Body, bus.Proc}
	if r.o.Packets != "" || keep != "" {
		layers = append(layers, bus.Frames)
	}
	if r.o.KeyLog != "" || r.o.Packets != "" || keep != "" {
		layers = append(layers, bus.Keys)
	}
	for _, l := range layers {
		for p := range l.StreamCount(r.bus.Partitions()) {
			o.wg.Go(func() {
				each := func(b *natsbus.Batch) error { return r.batch(o, l, b) }
				err := r.bus.Follow(ctx, l, p, 0, each)
				if err != nil && !errors.Is(err, context.Canceled) {
					r.fail(fmt.Errorf("follow the layer %s: %w", l, err))
				}
			})
		}
	}
	go func() {
		o.wg.Wait()
		close(o.done)
	}()
	return o, nil
}

// batch hands the records of a batch on. What could not be had is said once.
func (r *run) batch(o *outputs, l bus.Layer, b *natsbus.Batch) error {
	if b.Missed > 0 {
		r.lack(fmt.Errorf("%d batches of the layer %s were removed before they could be written out, for lack of room", b.Missed, l))
	}
	for rec := range b.Records() {
		o.progress.Add(1)
		if err := o.sink.Process(rec); err != nil {
			return err
		}
	}
	if b.Err != nil {
		r.lack(fmt.Errorf("layer %s: %w", l, b.Err))
	}
	return nil
}

// close writes what is still held back and ends the files.
func (o *outputs) close() error {
	o.cancel()
	o.wg.Wait()
	return o.sink.Close()
}
