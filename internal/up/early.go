package up

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// early catches what would end this process before the command runs, so that nothing
// is left behind. A second signal ends it at once.
type early struct {
	c    chan os.Signal
	came chan struct{} // closed when got is set
	got  syscall.Signal
}

// earlyWait is how long a start that failed waits for the signal that may be why: the
// other processes of the job had it at the same time.
const earlyWait = 50 * time.Millisecond

func catchEarly() *early {
	e := &early{c: make(chan os.Signal, 1), came: make(chan struct{})}
	signal.Notify(e.c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		e.got = (<-e.c).(syscall.Signal)
		close(e.came)
		signal.Stop(e.c)
	}()
	return e
}

// status is the exit status after the signal that came, or comes within wait; 0: none did.
func (e *early) status(wait time.Duration) int {
	if wait > 0 {
		select {
		case <-e.came:
		case <-time.After(wait):
		}
	}
	select {
	case <-e.came:
		return 128 + int(e.got)
	default:
		return 0
	}
}

// stop leaves the signals to others.
func (e *early) stop() { signal.Stop(e.c) }
