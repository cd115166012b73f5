package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"clipper/bus"
)

// When a snapshot is due: as much input as this is in the log only because
// something that began before it is still open. A restart replays about that
// much, and the log of a session without end stays short.
const (
	snapshotBytes    = 64 << 20
	snapshotMessages = 1 << 13
	snapshotShare    = 8 // of the input's limit in bytes, if that is less
	snapshotCost     = 4 // times the size of the last snapshot, if that is more,
	snapshotMost     = 4 // but not more than this share of the limit
)

// pinned counts the input since a message.
type pinned struct {
	from     uint64 // sequence of the first message counted; 0 is none
	messages int
	bytes    int
	due      int // bytes at which a snapshot is due
	base     int // due, if snapshots are small; 0: there are none
	most     int // due, at most
}

func (p *pinned) add(b *Batch) {
	if p.from == 0 {
		p.from = b.Seq
	}
	p.messages++
	p.bytes += b.size
}

// reset begins anew after a snapshot of the given size.
func (p *pinned) reset(size int) {
	*p = pinned{base: p.base, most: p.most, due: min(max(p.base, snapshotCost*size), p.most)}
}

// snapshotDue reports whether open connections pin too much of an input. The
// end of an input is no part of a snapshot, so after it there is none.
func (r *runner) snapshotDue() bool {
	due := false
	for i, in := range r.in {
		if i == sideInput || in == nil {
			continue
		}
		if in.ended {
			return false
		}
		p := &in.pinned
		if p.base == 0 || p.bytes < p.due && p.messages < snapshotMessages {
			continue
		}
		if r.low[i] <= p.from {
			due = true
		} else { // what began this is over
			*p = pinned{base: p.base, most: p.most, due: p.due}
		}
	}
	return due
}

// snapshot stores the state of the stage. First it publishes all output up to
// here: a restart begins with the state and would not give it again. Then, from
// the next batches on, Low says that what came before is no longer needed.
//
// The stream of snapshots is fenced like an output. An instance that makes it,
// late, after another has taken the outputs over, finds that out by publishing
// to them before it stores anything.
func (r *runner) snapshot(ctx context.Context) error {
	if r.snapshots == nil {
		var err error
		if r.snapshots, err = r.bus.makeSnapshots(ctx, r.snapshotSource()); ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil { // as little as if the stage had none
			r.opts.Log.Warn().Err(err).Msg("no snapshot of the state: a restart replays more, or forgets")
			r.resetPinned(0)
			return nil
		}
	}
	if err := r.sendAll(ctx); err != nil {
		return err
	}
	for _, o := range r.outs {
		if err := o.sender.flush(ctx); err != nil {
			return err
		}
	}
	state := r.stage.(bus.Snapshotter).AppendSnapshot(nil)
	r.resetPinned(len(state))
	if len(state) > r.snapshots.limit {
		r.opts.Log.Warn().Int("bytes", len(state)).Int("limit", r.snapshots.limit).Msg("the state is too large for a snapshot")
		return nil
	}
	first := r.snapshots.sender.next
	if err := r.snapshots.put(ctx, r.pos, r.program(), state); err != nil {
		return err
	}
	if err := r.snapshots.trim(ctx, first); err != nil { // the next time will do
		r.opts.Log.Warn().Err(err).Msg("old snapshots are kept")
	}
	r.floor = r.number() + 1
	r.low = r.rebuild()
	return r.sendAll(ctx)
}

// resetPinned begins to count anew after a snapshot of the given size.
func (r *runner) resetPinned(size int) {
	for _, in := range r.in[:sideInput] {
		if in != nil {
			in.pinned.reset(size)
		}
	}
}

// sendAll publishes the progress of all outputs, with what they hold.
func (r *runner) sendAll(ctx context.Context) error {
	r.waiting = time.Time{}
	for _, o := range r.outs {
		if o.complete {
			continue
		}
		if err := o.send(ctx, point{pos: r.pos}.progress(r.low)); err != nil {
			return err
		}
	}
	return nil
}

// number is the Pos that the stage knows the last message by.
func (r *runner) number() uint64 {
	if r.merge != nil {
		return r.merge.last
	}
	return r.pos[mainInput]
}

func (r *runner) program() string {
	if r.opts.program != "" {
		return r.opts.program
	}
	return executable()
}

func (r *runner) snapshotSource() snapshotSource {
	return snapshotSource{r.outs[0].layer, r.partition, slices.Contains(r.stage.Takes(), bus.Keys)}
}

// snapshotLimits are the pinned bytes of an input at which a snapshot is due, at
// least and at most.
func (r *runner) snapshotLimits(ctx context.Context, l bus.Layer, partition int) (base, most int, err error) {
	if _, ok := r.stage.(bus.Snapshotter); !ok || !l.Partitioned() {
		return 0, 0, nil
	}
	if n := r.opts.snapshotBytes; n > 0 {
		return n, n, nil
	}
	info, err := r.bus.streamInfo(ctx, l, partition)
	if err != nil {
		return 0, 0, err
	}
	limit := int(info.Config.MaxBytes)
	if limit <= 0 {
		limit = maxStream
	}
	return min(limit/snapshotShare, snapshotBytes), limit / snapshotMost, nil
}

// lastSnapshot is the snapshot that the outputs rest on: one of a state that
// they all cover, and not so old that what was open then is over. Without one,
// replay from low rebuilds the state.
func (r *runner) lastSnapshot(ctx context.Context, low position) (snap *snapshot, err error) {
	if r.snapshots, snap, err = r.bus.openSnapshots(ctx, r.snapshotSource()); err != nil || snap == nil {
		return nil, err
	}
	for i := range inputs {
		if i != sideInput && low[i] > snap.pos[i]+1 {
			return nil, nil
		}
		for _, o := range r.outs {
			if o.point.pos[i] < snap.pos[i] {
				return nil, nil
			}
		}
	}
	return snap, nil
}

// restorable reports whether a snapshot is worth a try. That of another program
// is the second choice, after a log that reaches back to its beginning.
func (r *runner) restorable(ctx context.Context, layers [inputs]bus.Layer, snap *snapshot) (bool, error) {
	if _, ok := r.stage.(bus.Snapshotter); !ok {
		return false, nil
	}
	if snap.program == r.program() && snap.program != "" {
		return true, nil
	}
	for _, l := range layers[:sideInput] {
		if l == 0 {
			continue
		}
		info, err := r.bus.streamInfo(ctx, l, r.partition)
		if err != nil {
			return false, err
		}
		if info.State.FirstSeq > 1 {
			return true, nil
		}
	}
	return false, nil
}

var errRestore = errors.New("natsbus: the snapshot was refused")

// restore gives the stage the side input that it had at the snapshot, then its state.
func (r *runner) restore(ctx context.Context, snap *snapshot) error {
	if err := r.replayTo(ctx, snap.pos); err != nil {
		return err
	}
	pos := r.number() + 1
	if err := r.stage.(bus.Snapshotter).Restore(snap.state, pos); err != nil {
		return fmt.Errorf("%w: %w", errRestore, err)
	}
	r.floor = pos
	r.low = r.rebuild()
	return nil
}
