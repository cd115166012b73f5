//go:build linux

package netd

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
)

// events publishes the owners of flows on the bus. It connects beside the
// packets, which do not wait for it.
type events struct {
	c     chan bus.ProcEvent
	apply chan func(bus.Conditions) error
	known func() // what held before is in force; set before apply gets its function
	done  chan error

	mu     sync.RWMutex
	closed bool // c
	err    error
}

const eventQueue = 4096

// openEvents returns nil when the process has no access to a bus.
func openEvents() *events {
	if os.Getenv(natsbus.AccessEnv) == "" {
		return nil
	}
	e := &events{c: make(chan bus.ProcEvent, eventQueue), apply: make(chan func(bus.Conditions) error, 1), done: make(chan error, 1)}
	go func() {
		err := e.run(context.Background())
		if err != nil { // nobody can tell what holds
			go func() {
				<-e.apply
				e.known()
			}()
		}
		for range e.c { // whatever failed, the network goes on
		}
		e.done <- err
	}()
	return e
}

func (e *events) run(ctx context.Context) error {
	access, err := natsbus.AccessFromEnv()
	if err != nil {
		return err
	}
	b, err := natsbus.Connect(ctx, access.WithoutKeys(), "netd")
	if err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	defer b.Close()
	go func() {
		apply := <-e.apply
		defer e.known()
		if err := b.ObeyConditions(apply); err != nil { // the network is as it is without
			fmt.Fprintln(os.Stderr, "clipper netd:", err)
		}
	}()
	p, err := b.OpenPublisher(ctx, bus.Proc, bus.ProcNetd)
	if err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	for ev := range e.c {
		r := bus.Record{Layer: bus.Proc, Type: bus.Line, Time: ev.Time, Event: &ev}
		if err := p.Publish(ctx, &r); err != nil {
			return fmt.Errorf("netd: %w", err)
		}
	}
	// The end must not hang on a server that has gone.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := p.Publish(ctx, &bus.Record{Layer: bus.Proc, Type: bus.EOS, Time: time.Now().UnixNano()}); err != nil {
		return fmt.Errorf("netd: %w", err)
	}
	return p.Close(ctx)
}

// obey takes the function that puts conditions in force.
func (e *events) obey(apply func(bus.Conditions) error) <-chan struct{} {
	known := make(chan struct{})
	e.known = sync.OnceFunc(func() { close(known) })
	time.AfterFunc(knownLimit, e.known)
	e.apply <- apply
	return known
}

// knownLimit is how long packets wait to learn which conditions hold: without
// the bus they flow all the same.
const knownLimit = 10 * time.Second

// publish publishes ev, unless the end was published before.
func (e *events) publish(ev bus.ProcEvent) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.closed {
		e.c <- ev
	}
}

// close publishes the end and waits until it is stored. It may be called again.
func (e *events) close() error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		close(e.c)
		e.err = <-e.done
	}
	return e.err
}
