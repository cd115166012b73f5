package natsbus

import (
	"context"
	"errors"
	"fmt"

	"clipper/bus"
)

// output is one output layer of a running stage.
type output struct {
	layer    bus.Layer
	sender   *sender
	batch    *batcher
	point    point  // published up to here; at the start, by an earlier run
	low      uint64 // of the main input, as last published; 0 is nothing
	low2     uint64
	behind   bool   // input with records was consumed after point
	muted    bool   // replay has not come to point yet
	skip     uint32 // records of the message being consumed that were published before
	emitted  uint32 // records of the message being consumed
	complete bool   // EOS was published
	records  uint64
	bytes    uint64
}

// openOutput takes the stream of an output over and finds where it stands.
func (b *Bus) openOutput(ctx context.Context, l bus.Layer, partition int) (*output, error) {
	producer := newProducer()
	s, claim, err := b.claim(ctx, l, partition, producer)
	if err != nil {
		return nil, err
	}
	o := &output{layer: l, sender: s, batch: newBatcher(l, producer), low: 1, low2: 1, muted: true}
	last, err := lastBatch(ctx, s.link, s.stream, l, claim, false)
	if err != nil {
		s.close()
		return nil, err
	}
	if last != nil {
		o.batch.batch = last.Batch
		o.point = pointOf(last.Progress)
		o.low, o.low2 = max(last.Low, 1), max(last.SecondLow, 1)
		o.complete = last.endsStream()
	}
	return o, nil
}

// add adds a record that the stage emitted at the given place.
func (o *output) add(ctx context.Context, r *bus.Record, at func(mid uint32) bus.Progress) error {
	for i := range o.batch.parts(r) {
		if o.complete {
			return nil
		}
		o.emitted++
		if o.muted {
			continue
		}
		if o.skip > 0 {
			o.skip--
			continue
		}
		part := o.batch.part(r, i)
		ok, err := o.batch.add(part)
		if err == nil && !ok {
			if err := o.send(ctx, at(o.emitted-1)); err != nil {
				return err
			}
			_, err = o.batch.add(part)
		}
		if err != nil {
			return fmt.Errorf("output layer %v: %w", o.layer, err)
		}
		if part.Type == bus.EOS {
			o.complete = true
		}
		o.records++
		if o.batch.ready() {
			if err := o.send(ctx, at(o.emitted)); err != nil {
				return err
			}
		}
	}
	return nil
}

// send publishes what was gathered, or a batch without records.
func (o *output) send(ctx context.Context, p bus.Progress) error {
	if err := o.sender.reserve(ctx, len(o.batch.buf)); err != nil {
		return err
	}
	data := o.batch.finish(p)
	o.bytes += uint64(len(data))
	o.behind = false
	o.point, o.low, o.low2 = pointOf(p), p.Low, p.SecondLow
	return o.sender.publish(data)
}

// isLoss tells an error that concerns one record from one that ends the output.
func isLoss(err error) bool { return errors.Is(err, ErrTooLarge) }
