//go:build linux

package capture

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Gate tells whether the reader is falling behind, to the process that moves
// the packets. It costs three atomic loads as long as the reader keeps up.
type Gate struct {
	// Limit is how long Wait holds packets back while nothing is published at
	// all. After that the gate stays open until something is: the
	// program goes on, and what is lost is counted.
	Limit time.Duration

	page    *page
	status  statuses
	blocks  uint64 // that may wait to be read
	waiting uint32 // that may wait to be published

	stuck atomic.Uint64 // position + 1 at which Limit ran out
}

// DefaultGateLimit is the Limit of a new Gate.
const DefaultGateLimit = 10 * time.Second

// NewGate maps the ring of the packet socket and the shared page. The gate
// closes while at least percent of the ring waits to be read, or while the backlog
// has as few places left as that leaves of the smallest one. The descriptors may
// be closed afterwards.
func NewGate(packetFD, pageFD, percent int) (*Gate, error) {
	if percent < 1 || percent > 90 {
		return nil, fmt.Errorf("capture: gate at %d %% of the ring: 1 to 90 are possible", percent)
	}
	p, err := openPage(pageFD)
	if err != nil {
		return nil, err
	}
	g := &Gate{page: p, blocks: max(1, uint64(Blocks*percent/100)), waiting: p.backlog - uint32(backlogBlocks*(100-percent)/100), Limit: DefaultGateLimit}
	if g.status, err = mapStatus(packetFD); err != nil {
		p.unmap()
		return nil, err
	}
	return g, nil
}

// Full reports whether the gate is closed. Any number of goroutines may ask.
func (g *Gate) Full() bool {
	p := g.page
	// Blocks become ready in order, so this one stands for all before it.
	if !g.status.ready(p.moved.Load()+g.blocks-1) && p.waiting.Load() < g.waiting {
		return false
	}
	return g.stuck.Load() != p.load().next+1 && p.done.Load() == 0
}

// Wait returns when the gate is open.
func (g *Gate) Wait() {
	if g.Full() {
		g.wait()
	}
}

func (g *Gate) wait() {
	at, since := g.page.load().next, time.Now()
	for g.Full() {
		if next := g.page.load().next; next != at {
			at, since = next, time.Now()
		} else if time.Since(since) > g.Limit {
			g.stuck.Store(at + 1)
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// Fill is how many blocks of the ring wait to be read, of Blocks.
func (g *Gate) Fill() int { return g.status.fill(g.page.moved.Load()) }

// Waiting is how many blocks wait in the backlog to be published.
func (g *Gate) Waiting() int { return int(g.page.waiting.Load()) }

// Stats reads the sums of the capture so far.
func (g *Gate) Stats() Stats { return g.page.stats() }

// Close gives the mappings back. Nobody may use the gate any more.
func (g *Gate) Close() error { return errors.Join(g.status.unmap(), g.page.unmap()) }
