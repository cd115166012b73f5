//go:build linux

package capture

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"clipper/bus"
)

// Publisher takes the records of one partition. It may hold records back until
// Flush; when Flush has returned nil, all of them are stored. It does not keep
// the record after Publish.
type Publisher interface {
	Publish(*bus.Record) error
	Flush() error
}

// Output is one partition of the output of a Reader.
type Output struct {
	Publisher
	// Resume is the lowest frame index that the partition does not hold yet:
	// NextIndex of its last record, 0 when it has none.
	Resume uint64
	// Ended says that the partition's last record is its EOS.
	Ended bool
}

// NextIndex is the frame index after r, a record of the layer Frames.
func NextIndex(r *bus.Record) uint64 {
	switch r.Type {
	case bus.EOS:
		return r.Offset
	case bus.Dropped:
		return r.Offset + uint64(r.Aux)
	}
	return r.Offset + 1
}

// Reader publishes what a ring records.
//
// Blocks go from the ring into the backlog, and are freed there when their
// frames are stored. Each frame has an index, which counts from 0 over the whole
// capture, frames included that are lost or left out because they were seen
// twice. The shared page says which block is to be published next and the index
// of its first frame. So a reader that takes over publishes the blocks again
// whose publication was under way, gives their frames the same indices, and
// leaves out, partition by partition, those that the output holds already.
type Reader struct {
	ring   *Ring
	out    []Output
	dirty  []bool  // partitions with records that are not flushed
	frames []frame // of the block in hand
	seen   *reflections
	record bus.Record
}

// NewReader makes the reader of a ring. There can be one at a time.
func NewReader(r *Ring, out []Output) *Reader {
	return &Reader{ring: r, out: out, dirty: make([]bool, len(out)), seen: newReflections()}
}

// round is how many blocks are published, at most, before they are flushed.
const round = 32

// Run publishes frames until ctx is done, then what the ring still holds, then
// EOS to every partition. The records are of the layer bus.Frames; losses are
// records of the type bus.Dropped in partition 0, after what was recorded before
// them.
func (r *Reader) Run(ctx context.Context) error {
	if r.ended() {
		r.ring.page.done.Store(1)
		return nil
	}
	pos := r.ring.page.load()
	b, err := openBacklog(r.ring, pos.next)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wake, err := newWaker(ctx)
	if err != nil {
		return err
	}
	defer wake.close()
	moved := make(chan error, 1)
	go func() { moved <- b.move(ctx, wake) }()
	pos, err = r.publishAll(b, pos)
	close(b.quit)
	cancel()
	if e := <-moved; err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return r.end(pos)
}

// publishAll publishes the blocks of the backlog until there will be no more.
func (r *Reader) publishAll(b *backlog, pos position) (position, error) {
	var err error
	if pos.intent != 0 {
		if pos, err = r.finishDrops(pos); err != nil {
			return pos, err
		}
	}
	var places []int
	for place := range b.ready {
		places = append(places[:0], place)
		for more := true; more && len(places) < round; {
			select {
			case place, more = <-b.ready:
				if more {
					places = append(places, place)
				}
			default:
				more = false
			}
		}
		losing := false
		for _, place := range places {
			losing = losing || b.losing(place)
			if pos.index, err = r.publish(b.block(place), pos.index); err != nil {
				return pos, err
			}
		}
		if err := r.flush(); err != nil {
			return pos, err
		}
		pos.next += uint64(len(places))
		r.ring.page.commit(pos)
		b.release(places)
		if losing {
			if pos, err = r.publishDrops(pos); err != nil {
				return pos, err
			}
		}
	}
	return pos, nil
}

func (r *Reader) ended() bool {
	for _, o := range r.out {
		if !o.Ended {
			return false
		}
	}
	return len(r.out) > 0
}

// publish hands the frames of a block to their partitions and returns the index
// after them.
func (r *Reader) publish(block []byte, index uint64) (uint64, error) {
	var err error
	if r.frames, err = appendFrames(r.frames[:0], block); err != nil {
		return index, err
	}
	for i := range r.frames {
		f := &r.frames[i]
		if r.seen.repeats(f) {
			index++
			continue
		}
		p := Partition(f.linkType, f.data, len(r.out))
		if index >= r.out[p].Resume {
			r.dirty[p] = true
			r.record = bus.Record{Layer: bus.Frames, Type: bus.Type(f.linkType), Flags: f.flags, Offset: index,
				Time: f.time, Stream: uint64(f.ifindex), Aux: f.length, Payload: f.data}
			if err := r.out[p].Publish(&r.record); err != nil {
				return index, err
			}
		}
		index++
	}
	clear(r.frames)
	return index, nil
}

// flush waits for all partitions at once: each takes a turn of the bus.
func (r *Reader) flush() error {
	var wg sync.WaitGroup
	errs := make([]error, len(r.out))
	for i := range r.out {
		if r.dirty[i] {
			wg.Go(func() { errs[i] = r.out[i].Flush() })
		}
	}
	wg.Wait()
	clear(r.dirty)
	return errors.Join(errs...)
}

// publishDrops publishes what was lost since the last time. The page carries
// the number before the record does, so that a reader that takes over neither
// repeats nor forgets it.
func (r *Reader) publishDrops(pos position) (position, error) {
	if err := r.ring.queryStats(); err != nil {
		return pos, err
	}
	pos.intent = min(r.ring.page.drops.Load()-pos.dropped, 1<<32-1)
	if pos.intent == 0 {
		return pos, nil
	}
	r.ring.page.commit(pos)
	return r.finishDrops(pos)
}

func (r *Reader) finishDrops(pos position) (position, error) {
	if o := &r.out[0]; pos.index >= o.Resume {
		r.record = bus.Record{Layer: bus.Frames, Type: bus.Dropped, Offset: pos.index, Aux: uint32(pos.intent)}
		if err := o.Publish(&r.record); err != nil {
			return pos, err
		}
		if err := o.Flush(); err != nil {
			return pos, err
		}
	}
	pos.index += pos.intent
	pos.dropped += pos.intent
	pos.intent = 0
	r.ring.page.commit(pos)
	return pos, nil
}

// end publishes the last losses and EOS.
func (r *Reader) end(pos position) error {
	pos, err := r.publishDrops(pos)
	if err != nil {
		return err
	}
	for i := range r.out {
		if r.out[i].Ended {
			continue
		}
		r.record = bus.Record{Layer: bus.Frames, Type: bus.EOS, Offset: pos.index}
		r.dirty[i] = true
		if err := r.out[i].Publish(&r.record); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.ring.page.done.Store(1)
	return nil
}

// seq is the number of the block at the place of seq.
func (r *Ring) seq(seq uint64) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&r.block(seq)[blockSeq])))
}

// filling reports whether the kernel has block seq open with frames in it.
func (r *Ring) filling(seq uint64) bool {
	b := r.block(seq)
	return r.seq(seq) == seq && atomic.LoadUint32((*uint32)(unsafe.Pointer(&b[blockFrames]))) > 0
}
