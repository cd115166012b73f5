package natsbus

import (
	"context"
	"fmt"
	"slices"

	"clipper/bus"
)

// input is one input layer of a running stage, read ahead by a goroutine.
type input struct {
	layer   bus.Layer
	batches chan *Batch
	failed  chan error
	held    *Batch // received, to be consumed next
	stop    context.CancelFunc
	ended   bool
	end     uint64 // sequence of the message with EOS
	drained bool   // nothing was stored beyond the last batch consumed
	backlog uint64
	pinned  pinned
}

// inputLayers sorts what a stage takes into main, second and side input.
func inputLayers(s bus.Stage) (in [inputs]bus.Layer, err error) {
	var mains []bus.Layer
	for _, l := range s.Takes() {
		switch {
		case l == bus.Keys:
			in[sideInput] = l
		case l.Partitioned():
			mains = append(mains, l)
		default:
			return in, fmt.Errorf("natsbus: a stage cannot take layer %v", l)
		}
	}
	slices.Sort(mains)
	if len(mains) < 1 || len(mains) > 2 {
		return in, fmt.Errorf("natsbus: a stage with %d main layers (1 or 2 are possible)", len(mains))
	}
	copy(in[:], mains)
	return in, nil
}

func (b *Bus) openInput(ctx context.Context, l bus.Layer, partition int, from uint64) (*input, error) {
	rd, err := b.openReader(ctx, l, partition, from)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	in := &input{layer: l, batches: make(chan *Batch, 16), failed: make(chan error, 1), stop: stop, drained: true}
	go func() {
		defer rd.close()
		for {
			batch, err := rd.read(ctx)
			if err != nil {
				in.failed <- err
				return
			}
			select {
			case in.batches <- batch:
			case <-ctx.Done():
				return
			}
		}
	}()
	return in, nil
}

// receive waits for the next message.
func (in *input) receive(ctx context.Context) (*Batch, error) {
	if b := in.held; b != nil {
		in.held = nil
		return b, nil
	}
	select {
	case b := <-in.batches:
		return b, nil
	case err := <-in.failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
