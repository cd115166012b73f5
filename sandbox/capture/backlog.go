//go:build linux

package capture

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The backlog takes blocks out of the ring before they are published, so that a
// bus that is slow for a while, or for good, lets the ring fill only when the
// backlog is full. It is memory that the processes of a capture share and that
// outlives the reader; what is not used takes none.
const (
	MinBacklog = 64 << 20 // bytes
	MaxBacklog = 1 << 30

	backlogBlocks = MinBacklog / BlockSize // of the smallest
	// lowBlocks are used first. What lies above is given back to the system when
	// it has not been used for a while, for to get it again costs more than the
	// copy.
	lowBlocks = 16
	keepFor   = 500 * time.Millisecond
)

// backlog is the reader's end of it. A place holds the block whose number
// stands in page.numbers, or is free, by number 0.
type backlog struct {
	ring *Ring
	mem  []byte

	next    uint64        // number of the first block that is still in the ring
	ready   chan int      // places with a block, in the order of the blocks
	freed   chan struct{} // there may be a free place again
	quit    chan struct{} // closed: nothing will be freed any more
	highest int           // place that has memory
	used    time.Time     // when a place above the low ones was in use
}

// openBacklog finds what a reader before left: blocks from the number published
// on wait, others had been published. They have no gap, because blocks come one
// after the other.
func openBacklog(ring *Ring, published uint64) (*backlog, error) {
	b := &backlog{ring: ring, mem: ring.backlog, next: published, quit: make(chan struct{}),
		freed: make(chan struct{}, 1), highest: lowBlocks - 1}
	places := ring.page.places()
	b.ready = make(chan int, len(places))
	var waiting []int
	for place := range places {
		switch seq := places[place].Load(); {
		case seq >= published:
			waiting = append(waiting, place)
		case seq != 0:
			places[place].Store(0)
		}
	}
	number := func(place int) uint64 { return places[place].Load() }
	slices.SortFunc(waiting, func(a, c int) int { return int(int64(number(a) - number(c))) })
	for _, place := range waiting {
		if number(place) != b.next {
			return nil, fmt.Errorf("capture: block %d waits to be published where %d should be: the page belongs to another ring", number(place), b.next)
		}
		b.ready <- place
		b.next++
		b.highest = max(b.highest, place)
	}
	if b.highest < lowBlocks {
		b.giveBack()
	}
	ring.page.waiting.Store(uint32(len(waiting)))
	ring.page.moved.Store(b.next)
	// The reader may have died between copy and release.
	for seq := b.next - min(b.next-1, Blocks); seq < b.next; seq++ {
		if ring.ready(seq) && ring.seq(seq) == seq {
			ring.release(seq)
		}
	}
	return b, nil
}

// move takes blocks out of the ring until ctx is done and the ring is empty, or
// quit is closed. It closes ready at its end.
func (b *backlog) move(ctx context.Context, wake *waker) error {
	defer close(b.ready)
	last := uint64(0) // block at which to end, once ctx is done
	for {
		idle := true
		for b.ring.ready(b.next) {
			if seq := b.ring.seq(b.next); seq != b.next {
				return fmt.Errorf("capture: block %d of the ring where %d should be: the page belongs to another ring", seq, b.next)
			}
			place := b.free()
			if place < 0 {
				return nil
			}
			if err := b.take(place); err != nil {
				return err
			}
			idle = false
		}
		select {
		case <-b.quit:
			return nil
		default:
		}
		if ctx.Err() != nil {
			if last == 0 {
				last = b.next + Blocks // all that can be in use now
			}
			if b.next > last || !b.ring.ready(b.next) && !b.ring.filling(b.next) {
				return nil
			}
		}
		if idle {
			// What waits is published soon: look again for what can be given back.
			if err := wake.wait(b.ring, !b.trim()); err != nil {
				return err
			}
		}
	}
}

// take moves the next block of the ring to a place.
func (b *backlog) take(place int) error {
	block := b.ring.block(b.next)
	// The kernel says how much of the block it used.
	block = block[:min(native.Uint32(block[blockLen:]), BlockSize)]
	if place <= b.highest {
		copy(b.block(place), block)
	} else if n, err := unix.Pwrite(b.ring.pageFD, block, pageSize+int64(place)*BlockSize); n < len(block) {
		// By the file, new memory need not be cleared first: half the price.
		return fmt.Errorf("capture: block for the backlog: %d bytes of %d: %w", n, len(block), err)
	}
	b.highest = max(b.highest, place)
	p := b.ring.page
	p.numbers[place].Store(b.next)
	p.waiting.Add(1)
	b.ring.release(b.next)
	b.next++
	p.moved.Store(b.next)
	b.ready <- place // has room for all places
	return nil
}

// free returns the lowest free place, so that little memory is touched as long
// as little waits. It is negative after quit.
func (b *backlog) free() int {
	places := b.ring.page.places()
	for {
		for place := range places {
			if places[place].Load() == 0 {
				return place
			}
		}
		select {
		case <-b.freed:
		case <-b.quit:
			return -1
		}
	}
}

func (b *backlog) block(place int) []byte {
	return b.mem[place*BlockSize : (place+1)*BlockSize : (place+1)*BlockSize]
}

// losing reports whether frames were lost before the block was closed.
func (b *backlog) losing(place int) bool {
	return native.Uint32(b.block(place)[blockStatus:])&unix.TP_STATUS_LOSING != 0
}

// release frees places whose blocks are published.
func (b *backlog) release(places []int) {
	for _, place := range places {
		b.ring.page.numbers[place].Store(0)
		b.ring.page.waiting.Add(^uint32(0))
	}
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// trim gives memory back after a flood. It is false while that has to wait.
func (b *backlog) trim() bool {
	if b.highest < lowBlocks {
		return true
	}
	// Only the goroutine of move fills places: what is free stays so.
	high := b.ring.page.places()[lowBlocks : b.highest+1]
	for i := range high {
		if high[i].Load() != 0 {
			b.used = time.Now()
			return false
		}
	}
	if time.Since(b.used) < keepFor {
		return false
	}
	b.giveBack()
	return true
}

// giveBack frees the memory above the low blocks. If the system cannot, it stays.
func (b *backlog) giveBack() {
	unix.Fallocate(b.ring.pageFD, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
		pageSize+lowBlocks*BlockSize, int64(len(b.mem)-lowBlocks*BlockSize))
	b.highest = lowBlocks - 1
}
