//go:build linux

package sandbox

import (
	"os"
	"os/signal"
	"sync"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// forwarder handles the spawner's signals as long as the program runs.
type forwarder struct {
	c    chan os.Signal
	once sync.Once
}

// forwardSignals catches, and does not ignore: ignored signals would stay
// ignored in every role that the spawner starts.
func forwardSignals(p *stage.Process) *forwarder {
	f := &forwarder{c: make(chan os.Signal, 16)}
	signal.Notify(f.c, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for sig := range f.c {
			if sig == unix.SIGTERM || sig == unix.SIGHUP {
				p.Signal(sig.(unix.Signal))
				p.Signal(unix.SIGCONT) // a stopped one would not take it
			}
		}
	}()
	return f
}

func (f *forwarder) stop() {
	f.once.Do(func() {
		signal.Stop(f.c)
		close(f.c)
	})
}
