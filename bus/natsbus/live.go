package natsbus

import (
	"context"
	"time"
)

const (
	tickInterval = time.Second           // of health and watermarks
	maxDelay     = 10 * time.Millisecond // of a record while more input keeps coming
)

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
			if err = r.consume(ctx, i, b); err == nil && r.snapshotDue() {
				err = r.snapshot(ctx)
			}
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
