package keyhook

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/keyhook/internal/inject"
	"clipper/keyhook/internal/ring"
	"clipper/keyhook/internal/state"
)

// Main is the keyhook role. It reads its Options from natsbus.OptionsEnv, serves until
// SIGTERM (the app has ended), then drains everything, publishes the end of
// both layers and returns the exit status.
func Main() int {
	o, err := ParseOptions()
	if err == nil && o.Launch != nil {
		err = o.Launch.run()
		fmt.Fprintln(os.Stderr, err)
		return launchStatus(err)
	}
	if err == nil {
		ctx, stop := natsbus.RoleContext()
		defer stop()
		// Ctrl-C is the app's: the spawner says when the session is over.
		signal.Ignore(unix.SIGINT)
		err = serveOnBus(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveOnBus(ctx context.Context, o Options) error {
	p, err := connect(context.WithoutCancel(ctx)) // the end is published, too
	if err != nil {
		return fmt.Errorf("keyhook: %w", err)
	}
	defer p.close()
	if complete(p.keys) && complete(p.proc) {
		return nil
	}
	return Serve(ctx, o, p)
}

// eventQueue bounds the process events that wait to be published.
const eventQueue = 8192

// Limits of the drain.
const (
	writerGrace = time.Second            // for a reserved and unpublished slot of the ring
	idle        = 100 * time.Millisecond // longest sleep
	gather      = 2 * time.Millisecond   // between two looks while secrets come
)

// Serve supervises until ctx ends, then drains, publishes the end of both
// layers and returns. It returns early with an error of the publisher; what it
// had in hand then is its successor's.
func Serve(ctx context.Context, o Options, p Publisher) error {
	st, err := state.Open(o.StateFD)
	if err != nil {
		return fmt.Errorf("keyhook: supervisor state: %w", err)
	}
	defer st.Close()
	r, err := ring.Open(o.RingFD, st.RingPos())
	if err != nil {
		return fmt.Errorf("keyhook: key ring: %w", err)
	}
	defer r.Close()

	if b, ok := p.(interface {
		stored(each func(*bus.TLSSecret)) error
	}); ok {
		if err := b.stored(func(s *bus.TLSSecret) { st.Published(s.KeyLogLine()) }); err != nil {
			return fmt.Errorf("keyhook: read what is published: %w", err)
		}
	}

	var lost atomic.Uint64
	events := make(chan reported, eventQueue)
	sup := &inject.Supervisor{Listener: o.ListenerFD, Killable: o.Killable, Ring: r, State: st, Report: func(e *bus.ProcEvent, published func()) {
		select {
		case events <- reported{e, published}:
			r.Wake()
		default:
			lost.Add(1)
		}
	}}
	if dir, err := os.UserCacheDir(); err == nil {
		sup.CacheDir = filepath.Join(dir, "clipper", "searches")
	}
	for _, f := range o.KeyLogFiles {
		if f.Agent != "" {
			sup.JavaAgent = agentOption(f.Path)
		}
	}
	if os.Getenv("CLIPPER_KEYHOOK_DEBUG") != "" {
		sup.Log = func(f string, a ...any) { fmt.Fprintf(os.Stderr, "keyhook: "+f+"\n", a...) }
	}
	served, stop := make(chan struct{}), make(chan struct{})
	go func() { sup.Serve(stop); close(served) }()
	if o.ReadyFD > 0 {
		unix.Write(o.ReadyFD, []byte{1})
		unix.Close(o.ReadyFD)
	}

	d := newDrain(o, r, st, events, p)
	defer d.close()
	over := ctx
	if o.untilGone {
		var cancel context.CancelFunc
		over, cancel = context.WithCancel(ctx)
		go func() { <-served; cancel() }()
	}
	wake := context.AfterFunc(over, r.Wake)
	defer wake()
	for over.Err() == nil && err == nil {
		word := r.Word()
		var busy bool
		if busy, err = d.step(); busy || err != nil {
			continue
		}
		if len(d.records) > 0 {
			// More is on its way: let it gather, rather than be woken for each.
			time.Sleep(gather)
			continue
		}
		r.Wait(word, idle)
	}
	close(stop)
	<-served
	if err == nil {
		err = d.finish()
	}
	if err != nil {
		return fmt.Errorf("keyhook: publish: %w", err)
	}
	if n := r.Dropped() + lost.Load(); n > 0 {
		return fmt.Errorf("keyhook: %d records did not fit into the key ring or the event queue", n)
	}
	return nil
}
