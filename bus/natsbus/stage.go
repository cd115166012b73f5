package natsbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"clipper/bus"
	"github.com/rs/zerolog"
)

// StageOptions are for RunStage; the zero value is usable.
type StageOptions struct {
	Role string // for health; "" sends none
	Log  zerolog.Logger

	// For tests.
	batchBytes    int    // instead of 128 KiB
	snapshotBytes int    // instead of what the limits of the inputs suggest
	program       string // instead of the executable
}

// RunStage runs one partition of a stage until its inputs ended, exactly: after
// a kill at any moment a new RunStage goes on where the output stops, without
// loss, repetition or change of order. It returns nil when the outputs are
// complete, ErrFenced when another process took the partition over. Of several
// that begin at once, the last to take the first output over goes on.
//
// A stage may take one or two main layers and Keys as side layer. With two main
// layers the Pos of their records counts the messages of both in the order of
// consumption (it ascends, but is not the sequence of either).
//
// How it is exact. Every batch of every output says which inputs it covers
// (bus.Progress): the output of all messages up to a position is published, and
// a number of records of the message after it. RunStage takes the output
// streams over, which ends the writing of any earlier process, and reads their
// last batches. It replays the input from the lowest Low, past the points of
// the outputs in their order, first the side input up to a point, then the main
// inputs. An output is muted until replay passes its point; what the stage gave
// up to there is the same set of records as what was published, however the
// inputs were interleaved then (see bus.Stage). From there on any
// interleaving will do, since nothing of it is published: only when a batch
// ended within the output of a message, that message comes next.
//
// A connection that stays open would pin all of the log that came after it. So
// the state of a stage that is a bus.Snapshotter is stored now and then, and
// replay begins there; see snapshot.
func RunStage(ctx context.Context, b *Bus, partition int, newStage func() bus.Stage, o StageOptions) error {
	ctx, cancel := b.main.watch(ctx)
	defer cancel()
	for {
		again, err := runStage(ctx, b, partition, newStage, o)
		switch {
		case again:
		case err != nil:
			return fmt.Errorf("partition %d: %w", partition, err)
		default:
			return nil
		}
	}
}

// runStage is RunStage but for what another run does that began at the same time:
// it may have taken over a later output although the first is this one's by now,
// which then has to begin again.
func runStage(ctx context.Context, b *Bus, partition int, newStage func() bus.Stage, o StageOptions) (again bool, err error) {
	r := &runner{bus: b, partition: partition, newStage: newStage, stage: newStage(), opts: o, started: time.Now()}
	defer func() {
		again = errors.Is(err, ErrFenced) && len(r.outs) > 1 && r.holdsFirst(ctx) == nil
		r.closeInputs()
		for _, out := range r.outs {
			out.sender.close()
		}
		if r.snapshots != nil {
			r.snapshots.sender.close()
		}
	}()
	layers, err := inputLayers(r.stage)
	if err != nil {
		return false, err
	}
	if err := r.openOutputs(ctx); err != nil {
		return false, err
	}
	if r.complete() {
		return false, nil
	}
	if err := r.begin(ctx, layers); err != nil {
		return false, err
	}
	if err := r.replay(ctx); err != nil {
		return false, err
	}
	if err := r.live(ctx); err != nil {
		return false, err
	}
	return false, r.finish(ctx)
}

// runner is one run of RunStage.
type runner struct {
	bus       *Bus
	partition int
	newStage  func() bus.Stage
	stage     bus.Stage
	opts      StageOptions
	started   time.Time

	in    [inputs]*input
	outs  []*output
	pos   position // consumed
	low   position // where to begin to rebuild the state at pos
	merge *merge   // with two main inputs
	now   bus.Layer
	last  int   // main input that was consumed last
	err   error // of the first emit that failed

	snapshots *snapshots // nil before the first
	floor     uint64     // Pos above the last snapshot: nothing below is needed

	waiting   time.Time // since when outputs hold records; zero: they hold none
	replaying bool
	malformed uint64
	dropped   uint64
	inRecords uint64
	inBytes   uint64
}

func (r *runner) openOutputs(ctx context.Context) error {
	for _, l := range r.stage.Gives() {
		if !l.Partitioned() {
			return fmt.Errorf("natsbus: a stage cannot give layer %v", l)
		}
		o, err := r.bus.openOutput(ctx, l, r.partition)
		if err != nil {
			return err
		}
		if r.opts.batchBytes > 0 {
			o.batch.target = r.opts.batchBytes
		}
		r.outs = append(r.outs, o)
	}
	if len(r.outs) < 2 {
		return nil
	}
	// Two that write one output each could leave what no run can go on from: they
	// read their inputs in different orders.
	return r.holdsFirst(ctx)
}

// holdsFirst returns nil when nobody has taken the first output over. Who takes
// all and then still holds the first has taken each after everybody who could say
// so before.
func (r *runner) holdsFirst(ctx context.Context) error {
	s := r.outs[0].sender
	if err := s.flush(ctx); err != nil {
		return err
	}
	for start := time.Now(); ; {
		info, err := s.look()
		switch {
		case err == nil && info.State.LastSeq >= s.next:
			return fmt.Errorf("natsbus: publish to %s: %w", s.stream, ErrFenced)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > giveUp:
			return err
		}
	}
}

func (r *runner) complete() bool {
	return !slices.ContainsFunc(r.outs, func(o *output) bool { return !o.complete })
}

// consume hands one message to the stage.
func (r *runner) consume(ctx context.Context, i int, b *Batch) error {
	in := r.in[i]
	if b.Seq <= r.pos[i] {
		return nil
	}
	number := b.Seq
	switch {
	case i == sideInput:
		number = 0
	case r.merge != nil:
		number = r.merge.add(i, b.Seq)
	}
	r.now = in.layer
	r.announce(i, b.Seq)
	emit := func(rec *bus.Record) { r.emit(ctx, rec) }
	for rec := range b.Records() {
		if in.ended {
			break
		}
		rec.Pos = number
		if rec.Type == bus.EOS {
			in.ended, in.end = true, b.Seq
		}
		r.stage.Process(rec, emit)
		if i == sideInput && r.err == nil {
			r.err = r.reread(ctx, emit)
		}
		if r.err != nil {
			return r.err
		}
		r.inRecords++
	}
	if b.Err != nil {
		r.malformed++
		r.opts.Log.Error().Err(b.Err).Stringer("layer", in.layer).Int("partition", b.Partition).Uint64("seq", b.Seq).Msg("malformed batch")
	}
	r.inBytes += uint64(b.size)
	in.pinned.add(b)
	r.now = 0
	r.pos[i] = b.Seq
	r.low = r.rebuild()
	in.drained, in.backlog = b.Drained, b.backlog
	if i != sideInput {
		r.last = i
	}
	for _, o := range r.outs {
		o.behind = o.behind || b.Count > 0
		if o.skip > 0 {
			r.opts.Log.Error().Stringer("layer", o.layer).Uint32("missing", o.skip).Msg("replay gave less than before: the stage is not deterministic")
		}
		o.skip, o.emitted = 0, 0
	}
	return nil
}

// rebuild is where replay has to begin to rebuild the stage's present state.
// That an input has ended is part of the state.
func (r *runner) rebuild() position {
	low := max(r.stage.Low(), r.floor)
	p := position{mainInput: max(1, min(low, r.pos[mainInput]+1))}
	if r.merge != nil {
		p = r.merge.from(min(low, r.merge.last+1))
	}
	for i, in := range r.in {
		if in != nil && in.ended {
			p[i] = min(p[i], in.end)
		}
	}
	p[sideInput] = 1
	return p
}

// emit takes one record of the stage.
func (r *runner) emit(ctx context.Context, rec *bus.Record) {
	if r.err == nil {
		r.err = context.Cause(ctx)
	}
	if r.err != nil {
		return
	}
	for _, o := range r.outs {
		if o.layer != rec.Layer {
			continue
		}
		err := o.add(ctx, rec, func(mid uint32) bus.Progress {
			p := point{pos: r.pos, skip: mid}
			if mid > 0 {
				p.next = r.now
			}
			return p.progress(r.low)
		})
		if err != nil && isLoss(err) {
			r.dropped++
			r.opts.Log.Error().Err(err).Msg("record dropped")
			err = nil
		}
		r.err = err
		if r.waiting.IsZero() {
			r.waiting = time.Now()
		}
		return
	}
	r.err = fmt.Errorf("natsbus: the stage emitted a record of layer %v, which it does not give", rec.Layer)
}

// finish completes the outputs and waits until they are stored.
func (r *runner) finish(ctx context.Context) error {
	for _, o := range r.outs {
		if !o.complete {
			r.opts.Log.Error().Stringer("layer", o.layer).Msg("the stage did not end its output; ending it")
			r.emit(ctx, &bus.Record{Layer: o.layer, Type: bus.EOS})
		}
	}
	if r.err != nil {
		return r.err
	}
	if err := r.send(ctx); err != nil {
		return err
	}
	for _, o := range r.outs {
		if err := o.sender.flush(ctx); err != nil {
			return err
		}
	}
	r.health(true)
	return nil
}

// send publishes what the outputs hold.
func (r *runner) send(ctx context.Context) error {
	r.waiting = time.Time{}
	for _, o := range r.outs {
		if o.batch.count == 0 {
			continue
		}
		if err := o.send(ctx, point{pos: r.pos}.progress(r.low)); err != nil {
			return err
		}
	}
	return nil
}
