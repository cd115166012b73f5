//go:build linux

package netd

import (
	"sync"
	"sync/atomic"
	"time"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// shaper applies what the user of DevTools asked of the network to the flows of
// the sandbox. While nothing is asked, a flow costs it one load of a pointer.
//
// TCP is shaped where bytes pass between the sandbox and the host: nothing is
// lost or repeated, the peers' windows do the rest. Datagrams wait in short
// queues, and those for which there is no room are lost, as in a slow network.
type shaper struct {
	on atomic.Pointer[shape]

	// changed is told when other conditions are in force; never nil.
	changed func()
	// blocked is told of each connection that was refused or cut; never nil.
	blocked func(bus.Flow)
}

// shape is a set of conditions in force.
type shape struct {
	bus.Conditions
	limits  []limit
	flows   map[bus.Flow][]*bus.Target // those that a target names
	named   bool                       // the name of a connection matters
	changed chan struct{}              // closed when other conditions follow

	mu   sync.Mutex
	told map[bus.Flow]bool // blocked connections that were told of
}

const maxTold = 4096

type limit struct {
	target   *bus.Target
	latency  time.Duration
	down, up *link // nil: as fast as it comes
}

func newShaper() *shaper {
	return &shaper{changed: func() {}, blocked: func(bus.Flow) {}}
}

// set puts other conditions in force, also for the flows that are open.
func (s *shaper) set(c bus.Conditions) error {
	if err := c.Check(); err != nil {
		return err
	}
	var next *shape
	if !c.Empty() {
		next = newShape(c)
	}
	if before := s.on.Swap(next); before != nil {
		close(before.changed)
	}
	s.changed()
	return nil
}

func newShape(c bus.Conditions) *shape {
	p := &shape{Conditions: c, flows: map[bus.Flow][]*bus.Target{}, changed: make(chan struct{}), told: map[bus.Flow]bool{}}
	add := func(t *bus.Target) {
		p.named = p.named || !t.Every()
		for _, f := range t.Flows {
			p.flows[f] = append(p.flows[f], t)
		}
	}
	for i := range c.Blocking {
		add(&c.Blocking[i].Target)
	}
	for i := range c.Limits {
		l := &c.Limits[i]
		add(&l.Target)
		p.limits = append(p.limits, limit{&l.Target, time.Duration(l.Latency), newLink(l.Download), newLink(l.Upload)})
	}
	return p
}

// matches reports whether t means the flow; name is nil while it is unknown.
func (p *shape) matches(t *bus.Target, id bus.Flow, name *string) bool {
	for _, x := range p.flows[id] {
		if x == t {
			return true
		}
	}
	n := ""
	if name != nil {
		n = *name
	}
	return t.Match(n, id.Server)
}

func (p *shape) blocks(id bus.Flow, name *string) bool {
	for i := range p.Blocking {
		if r := &p.Blocking[i]; p.matches(&r.Target, id, name) {
			return r.Block
		}
	}
	return false
}

var noLimit = &limit{}

// limit is the one that holds for a flow; p may be nil.
func (p *shape) limit(id bus.Flow, name *string) *limit {
	if p == nil {
		return noLimit
	}
	for i := range p.limits {
		if l := &p.limits[i]; p.matches(l.target, id, name) {
			return l
		}
	}
	return noLimit
}

// sleep waits until a time, or until other conditions hold. It reports whether
// the same conditions hold still.
func (p *shape) sleep(until time.Time) bool {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.changed:
		return false
	}
}

// refuse answers a packet that begins something that must not begin, and says so.
func (s *shaper) refuse(n *nat, p *packet, transport string) bool {
	c := s.on.Load()
	if c == nil {
		return false
	}
	id, errno := bus.Flow{Transport: transport, Client: p.src, Server: p.dst}, unix.ENETUNREACH
	if !c.Offline {
		if !c.blocks(id, nil) {
			return false
		}
		errno = unix.EHOSTUNREACH
		s.tell(c, id)
	}
	again := *p
	again.b = append([]byte(nil), p.b...)
	n.owners.settle(func() { n.sendProhibited(&again, errno) })
	return true
}

func (s *shaper) offline() bool {
	c := s.on.Load()
	return c != nil && c.Offline
}

// tell says once that a connection is blocked.
func (s *shaper) tell(c *shape, id bus.Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.told[id] && len(c.told) < maxTold {
		c.told[id] = true
		s.blocked(id)
	}
}

// link is a line of a throughput: a token bucket without a store, as the
// virtual scheduling algorithm of ITU-T I.371 has it. It is told the time.
type link struct {
	rate int64 // bytes/s

	mu   sync.Mutex
	free time.Time // when all that was sent has passed
}

// newLink returns nil, through which everything passes at once, for rate 0.
func newLink(rate int64) *link {
	if rate <= 0 {
		return nil
	}
	return &link{rate: rate}
}

// pass sends n bytes at a time and returns when the last one has passed. What
// was sent before goes first.
func (l *link) pass(now time.Time, n int) time.Time {
	if l == nil {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.free
}

// busy is how long it takes until a byte sent now begins to pass.
func (l *link) busy(now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.free.Sub(now), 0)
}

// piece is how many bytes to send at once, so that flows take turns: 20 ms of
// the link's time.
func (l *link) piece() int {
	if l == nil {
		return maxPiece
	}
	return int(min(max(l.rate/50, minPiece), maxPiece))
}

const (
	minPiece = 256
	maxPiece = 64 << 10
)
