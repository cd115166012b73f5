package keyhook

import (
	"time"

	"clipper/bus"
	"clipper/keyhook/internal/inject"
	"clipper/keyhook/internal/keylog"
	"clipper/keyhook/internal/ring"
	"clipper/keyhook/internal/state"
)

// Mechanisms of a secret.
const (
	mechanismHook = "hook"
	mechanismFile = "SSLKEYLOGFILE"
	// mechanismAgent is that of an agent inside a virtual machine.
	mechanismAgent = "agent"
)

// reported is a process event on its way.
type reported struct {
	event     *bus.ProcEvent
	published func() // may be nil
}

// drain moves secrets and events from their sources to the publisher. It is
// used by one goroutine.
type drain struct {
	ring   *ring.Ring
	state  *state.State
	events <-chan reported
	pub    Publisher
	tails  []*keylog.Tail

	records []ring.Record
	fresh   map[string]bool // lines handed to the publisher and not flushed yet
	sent    []func()        // to call when what was published is safe
	unwatch func()
}

func newDrain(o Options, r *ring.Ring, st *state.State, events <-chan reported, p Publisher) *drain {
	d := &drain{ring: r, state: st, events: events, pub: p, fresh: map[string]bool{}}
	for _, f := range o.KeyLogFiles {
		d.tails = append(d.tails, &keylog.Tail{File: f})
	}
	d.unwatch = keylog.Watch(o.KeyLogFiles, r.Wake)
	return d
}

// step publishes what is there. It reports whether there may be more.
func (d *drain) step() (busy bool, err error) {
	now := time.Now()
	// The files first, to be published last: what a hooked program has also
	// written to a file is in the ring by then, and comes with its origin.
	found, busy := d.readTails()
	d.records = d.ring.Take(d.records[:0], ring.Slots)
	for _, rec := range d.records {
		s, err := keylog.ParseLine(rec.Line)
		if err != nil {
			continue // the ring is in the hands of the programs
		}
		s.Mechanism = mechanismHook
		if im, ok := d.state.Image(rec.Image); ok {
			s.Library, s.Executable = im.Library, im.Executable
			s.PID, s.TID = inject.Identify(im, rec.PID, rec.TID)
		}
		if err := d.secret(s, now); err != nil {
			return false, err
		}
	}
	own, _ := d.pub.(interface{ wroteItself(*bus.TLSSecret) })
	for _, s := range found {
		if own != nil && s.Mechanism == mechanismFile {
			own.wroteItself(s)
		}
		if err := d.secret(s, now); err != nil {
			return false, err
		}
	}
	events, err := d.drainEvents()
	if err != nil {
		return false, err
	}
	if len(d.fresh) > 0 || events || own != nil {
		if err := d.pub.Flush(); err != nil {
			return false, err
		}
	}
	d.safe()
	d.ring.Advance(now, writerGrace)
	return busy, nil
}

// readTails reads what was appended to the key log files.
func (d *drain) readTails() (found []*bus.TLSSecret, more bool) {
	for _, t := range d.tails {
		secrets, again, err := t.Read()
		if err != nil {
			continue // it may be readable later
		}
		more = more || again
		for _, s := range secrets {
			s.Mechanism = mechanismFile
			if t.Agent != "" {
				s.Mechanism, s.Executable = mechanismAgent, inject.Executable(s.PID)
			}
		}
		found = append(found, secrets...)
	}
	return found, more
}

// safe lets go of what was published: only now our own death loses nothing.
func (d *drain) safe() {
	for _, f := range d.sent {
		f()
	}
	d.sent = d.sent[:0]
	for line := range d.fresh {
		d.state.Published(line)
	}
	clear(d.fresh)
	for _, rec := range d.records {
		d.ring.Release(rec)
	}
}

// secret publishes s unless it was published before, by whichever source.
func (d *drain) secret(s *bus.TLSSecret, now time.Time) error {
	line := s.KeyLogLine()
	if d.fresh[line] || d.state.Seen(line) {
		return nil
	}
	d.fresh[line] = true
	return d.pub.Secret(s, now.UnixNano())
}

func (d *drain) drainEvents() (any bool, err error) {
	for range eventQueue {
		select {
		case e := <-d.events:
			if err := d.pub.Event(e.event); err != nil {
				return any, err
			}
			if e.published != nil {
				d.sent = append(d.sent, e.published)
			}
			any = true
		default:
			return any, nil
		}
	}
	return any, nil
}

// finish publishes what is left when the app and the supervisor have ended.
func (d *drain) finish() error {
	// A writer that was killed in between has left a slot that never comes.
	for {
		busy, err := d.step()
		if err != nil {
			return err
		}
		if !busy {
			break
		}
	}
	return d.pub.End()
}

func (d *drain) close() {
	d.unwatch()
	for _, t := range d.tails {
		t.Close()
	}
}
