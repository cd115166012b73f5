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
	// What people and their programs send to a command, and a timer (alarm(2)) that
	// was set before the execve of the spawner.
	signal.Notify(f.c, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	go func() {
		for sig := range f.c {
			if byTerminal(sig) {
				continue
			}
			p.Signal(sig.(unix.Signal))
			if sig == unix.SIGTERM || sig == unix.SIGHUP {
				p.Signal(unix.SIGCONT) // a stopped one would not take it
			}
		}
	}()
	return f
}

// byTerminal reports whether a signal is one that a terminal sends, to the whole
// job: the program has got it, too.
func byTerminal(sig os.Signal) bool {
	switch sig {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH:
		return true
	case unix.SIGINT, unix.SIGQUIT:
	default:
		return false
	}
	// A terminal sends these to its foreground job only.
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false // there is none
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func (f *forwarder) stop() {
	f.once.Do(func() {
		signal.Stop(f.c)
		close(f.c)
	})
}
