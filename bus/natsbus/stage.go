package natsbus

import (
	"context"
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

	batchBytes int // for tests: instead of 128 KiB
}

const (
	tickInterval = time.Second           // of health and watermarks
	maxDelay     = 10 * time.Millisecond // of a record while more input keeps coming
)

// RunStage runs one partition of a stage until its inputs ended, exactly: after
// a kill at any moment a new RunStage goes on where the output stops, without
// loss, repetition or change of order. It returns nil when the outputs are
// complete, ErrFenced when another process took the partition over.
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
func RunStage(ctx context.Context, b *Bus, partition int, newStage func() bus.Stage, o StageOptions) (err error) {
	ctx, cancel := b.main.watch(ctx)
	defer cancel()
	r := &runner{bus: b, partition: partition, stage: newStage(), opts: o, started: time.Now()}
	defer func() {
		for _, out := range r.outs {
			out.sender.close()
		}
		if err != nil {
			err = fmt.Errorf("partition %d: %w", partition, err)
		}
	}()
	layers, err := inputLayers(r.stage)
	if err != nil {
		return err
	}
	if err := r.openOutputs(ctx); err != nil {
		return err
	}
	if r.complete() {
		return nil
	}
	if err := r.openInputs(ctx, layers); err != nil {
		return err
	}
	defer r.closeInputs()
	if err := r.replay(ctx); err != nil {
		return err
	}
	if err := r.live(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// runner is one run of RunStage.
type runner struct {
	bus       *Bus
	partition int
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

	waiting   time.Time // since when outputs hold records; zero: they hold none
	replaying bool
	malformed uint64
	dropped   uint64
	inRecords uint64
	inBytes   uint64
}

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
	return nil
}

func (r *runner) complete() bool {
	return !slices.ContainsFunc(r.outs, func(o *output) bool { return !o.complete })
}

// openInputs begins where the output that is furthest behind needs it.
func (r *runner) openInputs(ctx context.Context, layers [inputs]bus.Layer) error {
	for i := range r.low {
		r.low[i] = 1
	}
	for i, o := range r.outs {
		if i == 0 {
			r.low[mainInput], r.low[secondInput] = o.low, o.low2
			continue
		}
		r.low[mainInput] = min(r.low[mainInput], o.low)
		r.low[secondInput] = min(r.low[secondInput], o.low2)
	}
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
		in, err := r.bus.openInput(ctx, l, partition, r.low[i])
		if err != nil {
			return err
		}
		r.in[i] = in
		r.pos[i] = r.low[i] - 1
	}
	if r.merge != nil {
		r.merge.pos = position{r.pos[mainInput], r.pos[secondInput]}
	}
	return nil
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

func (r *runner) closeInputs() {
	for _, in := range r.in {
		if in != nil {
			in.stop()
		}
	}
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
	low := r.stage.Low()
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

// watermark publishes the progress of the outputs that got no record for a
// while, so that a restart has not to replay what gave nothing.
func (r *runner) watermark(ctx context.Context) error {
	at := point{pos: r.pos}
	for _, o := range r.outs {
		if o.complete || !o.behind {
			continue // an empty batch is no progress, or watermarks would beget watermarks
		}
		if err := o.send(ctx, at.progress(r.low)); err != nil {
			return err
		}
	}
	return nil
}

// live consumes the inputs as they come until all have ended.
func (r *runner) live(ctx context.Context) error {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	idle := time.NewTimer(idleFlush)
	defer idle.Stop()
	for !r.ended() {
		i, b := r.poll()
		if late := !r.waiting.IsZero() && (time.Since(r.waiting) > maxDelay || b == nil && r.drained()); late {
			if err := r.send(ctx); err != nil {
				return err
			}
		}
		var err error
		if b == nil {
			var quiet <-chan time.Time
			if !r.waiting.IsZero() {
				idle.Reset(idleFlush)
				quiet = idle.C
			}
			i, b, err = r.wait(ctx, quiet, tick.C)
		} else {
			select {
			case <-tick.C:
				err = r.tick(ctx)
			default:
			}
		}
		switch {
		case err != nil:
			return err
		case b != nil:
			err = r.consume(ctx, i, b)
		case i == waitedIdle:
			err = r.send(ctx)
		case i == waitedTick:
			err = r.tick(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) tick(ctx context.Context) error {
	for _, o := range r.outs {
		if err := o.sender.failed(); err != nil {
			return err
		}
	}
	r.health(false)
	return r.watermark(ctx)
}

func (r *runner) ended() bool {
	for _, in := range r.in {
		if in != nil && !in.ended {
			return false
		}
	}
	return true
}

func (r *runner) drained() bool {
	for _, in := range r.in {
		if in != nil && !in.drained {
			return false
		}
	}
	return true
}

// poll takes a batch that is there already, of the side input first, of the main
// inputs in turn: one that runs ahead would pin the other's log.
func (r *runner) poll() (int, *Batch) {
	order := [...]int{sideInput, mainInput, secondInput}
	if r.last == mainInput {
		order[1], order[2] = secondInput, mainInput
	}
	for _, i := range order {
		if r.in[i] == nil {
			continue
		}
		if b := r.in[i].held; b != nil {
			r.in[i].held = nil
			return i, b
		}
		select {
		case b := <-r.in[i].batches:
			return i, b
		default:
		}
	}
	return 0, nil
}

// What wait waited for, if not an input.
const (
	waitedIdle = -1
	waitedTick = -2
)

func (r *runner) wait(ctx context.Context, idle, tick <-chan time.Time) (int, *Batch, error) {
	var batches [inputs]chan *Batch
	var failed [inputs]chan error
	for i, in := range r.in {
		if in != nil {
			batches[i], failed[i] = in.batches, in.failed
		}
	}
	select {
	case b := <-batches[mainInput]:
		return mainInput, b, nil
	case b := <-batches[secondInput]:
		return secondInput, b, nil
	case b := <-batches[sideInput]:
		return sideInput, b, nil
	case err := <-failed[mainInput]:
		return 0, nil, err
	case err := <-failed[secondInput]:
		return 0, nil, err
	case err := <-failed[sideInput]:
		return 0, nil, err
	case <-idle:
		return waitedIdle, nil, nil
	case <-tick:
		return waitedTick, nil, nil
	case <-ctx.Done():
		return 0, nil, context.Cause(ctx)
	}
}
