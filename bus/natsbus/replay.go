package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clipper/bus"
)

// begin opens the inputs where the output that is furthest behind needs it,
// with the state that the stage had there if that was stored.
func (r *runner) begin(ctx context.Context, layers [inputs]bus.Layer) error {
	low := position{r.outs[0].low, r.outs[0].low2, 1}
	for _, o := range r.outs[1:] {
		low[mainInput] = min(low[mainInput], o.low)
		low[secondInput] = min(low[secondInput], o.low2)
	}
	snap, err := r.lastSnapshot(ctx, low)
	if err != nil {
		return err
	}
	if snap == nil {
		return r.openInputs(ctx, layers, low)
	}
	all := position{1, 1, 1}
	use, err := r.restorable(ctx, layers, snap)
	if err != nil {
		return err
	}
	if use {
		from := snap.pos
		from[mainInput]++
		from[secondInput]++
		from[sideInput] = 1
		if err := r.openInputs(ctx, layers, from); err != nil {
			return err
		}
		err := r.restore(ctx, snap)
		if !errors.Is(err, errRestore) {
			return err
		}
		r.opts.Log.Warn().Err(err).Msg("the stored state is not of this program: replaying what the log still has")
		r.closeInputs()
		r.stage = r.newStage()
	}
	return r.openInputs(ctx, layers, all)
}

func (r *runner) openInputs(ctx context.Context, layers [inputs]bus.Layer, from position) error {
	r.low, r.pos = from, position{}
	if layers[secondInput] != 0 {
		r.merge = &merge{}
	}
	for i, l := range layers {
		if l == 0 {
			continue
		}
		partition := 0
		if l.Partitioned() {
			partition = r.partition
		}
		in, err := r.bus.openInput(ctx, l, partition, from[i])
		if err != nil {
			return err
		}
		r.in[i] = in
		r.pos[i] = from[i] - 1
		if in.pinned.base, in.pinned.most, err = r.snapshotLimits(ctx, l, partition); err != nil {
			return err
		}
		in.pinned.reset(0)
	}
	if r.merge != nil {
		r.merge.pos = position{r.pos[mainInput], r.pos[secondInput]}
	}
	return nil
}

func (r *runner) closeInputs() {
	for _, in := range r.in {
		if in != nil {
			in.stop()
		}
	}
}

// replay brings the stage past the points of all outputs.
func (r *runner) replay(ctx context.Context) error {
	outs, err := route(r.outs)
	if err != nil {
		return err
	}
	r.replaying = true
	first := r.pos
	for n, o := range outs {
		if err := r.replayTo(ctx, o.point.pos); err != nil {
			return err
		}
		o.muted = false
		if !o.complete {
			o.skip = o.point.skip
		}
		if n+1 < len(outs) && outs[n+1].point.pos == o.point.pos {
			continue // one step for all outputs at this position
		}
		for _, p := range outs[:n+1] {
			if p.skip == 0 {
				continue
			}
			i := r.inputOf(p.point.next)
			if i < 0 {
				return fmt.Errorf("natsbus: layer %v continues a message of layer %v, which the stage does not take", p.layer, p.point.next)
			}
			if err := r.replayOne(ctx, i); err != nil {
				return err
			}
			break
		}
	}
	r.replaying = false
	if n := r.pos[mainInput] - first[mainInput] + r.pos[secondInput] - first[secondInput]; n > 0 {
		r.opts.Log.Debug().Uint64("messages", n).Uint64("from", first[mainInput]+1).Dur("took", time.Since(r.started)).Msg("replayed")
	}
	return nil
}

func (r *runner) inputOf(l bus.Layer) int {
	for i, in := range r.in {
		if in != nil && in.layer == l {
			return i
		}
	}
	return -1
}

// replayTo consumes what leads to a position. Of what was trimmed it knows nothing.
func (r *runner) replayTo(ctx context.Context, to position) error {
	for _, i := range [...]int{sideInput, mainInput, secondInput} {
		for r.pos[i] < to[i] {
			in := r.in[i]
			if in == nil {
				return fmt.Errorf("natsbus: the outputs were written by a stage with other inputs")
			}
			b, err := in.receive(ctx)
			if err != nil {
				return err
			}
			if b.Seq > to[i] {
				r.opts.Log.Warn().Stringer("layer", in.layer).Uint64("messages", to[i]-r.pos[i]).Msg("replay without what was trimmed: connections that are older are forgotten")
				in.held, r.pos[i] = b, to[i]
				break
			}
			if err := r.consume(ctx, i, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// replayOne consumes the next message of an input.
func (r *runner) replayOne(ctx context.Context, i int) error {
	b, err := r.in[i].receive(ctx)
	if err != nil {
		return err
	}
	return r.consume(ctx, i, b)
}
