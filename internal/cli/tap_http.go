package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"sync"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/internal/filter"
	"clipper/internal/sink"
	"clipper/internal/term"
)

// followInto hands the records of several layers to f until all have ended.
func followInto(ctx context.Context, b *natsbus.Bus, f func(*bus.Record) error, layers ...bus.Layer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, l := range layers {
		wg.Go(func() {
			err := follow(ctx, b, l, func(batch *natsbus.Batch) error {
				for r := range batch.Records() {
					if err := f(r); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// layers are those that the lines, and the decision who passes, are made of.
func (ch *choice) layers() []bus.Layer {
	if ch.filter.Uses(filter.Body) {
		return []bus.Layer{bus.HTTP, bus.Body, bus.Proc}
	}
	return []bus.Layer{bus.HTTP, bus.Proc}
}

// tapLines prints the request lines of a session.
func tapLines(ctx context.Context, b *natsbus.Bus, ch choice) error {
	s, err := sink.New(sink.Options{Live: true, Dir: os.TempDir(), Terminal: term.New(os.Stdout, false), Filter: ch.filter, Redact: ch.redact})
	if err != nil {
		return err
	}
	err = followInto(ctx, b, s.Process, ch.layers()...)
	if e := s.Close(); err == nil {
		err = e
	}
	return err
}

// maxHeld is how many events of an exchange are held back until it is known
// whether it passes; of more the first ones are shown.
const maxHeld = 10_000

// tapChosenEvents prints the events of the exchanges that the filter lets pass:
// together, when the exchange has ended.
func tapChosenEvents(ctx context.Context, b *natsbus.Bus, ch choice, out io.Writer) error {
	type key struct {
		conn   bus.ConnID
		stream uint64
	}
	var mu sync.Mutex
	w := bufio.NewWriter(out)
	held := map[key][]*bus.Event{}
	decided := func(conn bus.ConnID, stream uint64, pass bool) {
		mu.Lock()
		defer mu.Unlock()
		k := key{conn, stream}
		if pass {
			for _, e := range held[k] {
				if ch.redact != nil {
					e = ch.redact.Event(e)
				}
				printEvent(w, e)
			}
			w.Flush()
		}
		delete(held, k)
	}
	s, err := sink.New(sink.Options{Live: true, Dir: os.TempDir(), Filter: ch.filter, Decided: decided})
	if err != nil {
		return err
	}
	err = followInto(ctx, b, func(r *bus.Record) error {
		if e, ok := r.Event.(*bus.Event); ok && ofRow(e) {
			k := key{e.Conn, e.Stream}
			mu.Lock()
			if len(held[k]) < maxHeld {
				held[k] = append(held[k], e)
			}
			mu.Unlock()
		}
		return s.Process(r)
	}, ch.layers()...)
	if e := s.Close(); err == nil {
		err = e
	}
	mu.Lock()
	defer mu.Unlock()
	if e := w.Flush(); err == nil {
		err = e
	}
	return err
}

// ofRow reports whether an event belongs to an exchange, or is a verdict.
func ofRow(e *bus.Event) bool {
	switch e.Type {
	case bus.EventConnection, bus.EventClosed, bus.EventDNS, bus.EventEOS:
		return false
	}
	return true
}
