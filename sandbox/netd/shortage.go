//go:build linux

package netd

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// shortage is when the host lacks something for new flows: descriptors, memory,
// ports. It says so, once.
type shortage struct {
	said  sync.Once
	since map[flowKey]time.Duration // when each connection was first asked for; of the loop
}

const (
	shortageTime = 3 * time.Second // that a connection waits for others to end
	maxWaiting   = 4096            // connections whose first time is remembered
)

// postpone reports whether the connection that could not be made because of err is
// left without an answer for now: the program's kernel asks again, and there may be
// room. One that waits for long gets the error that it returns, which is no
// refusal: it is not the server that does not want it.
func (s *shortage) postpone(key flowKey, err error, now time.Duration) (bool, error) {
	if !s.is(err) {
		return false, err
	}
	since, waits := s.since[key]
	switch {
	case !waits:
		if s.since == nil || len(s.since) >= maxWaiting {
			s.since = map[flowKey]time.Duration{}
		}
		s.since[key] = now
		return true, nil
	case now-since < shortageTime:
		return true, nil
	}
	delete(s.since, key)
	return false, unix.EHOSTUNREACH
}

// is reports whether err is a shortage.
func (s *shortage) is(err error) bool {
	errno, _ := errors.AsType[unix.Errno](err)
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL, unix.EAGAIN:
	default:
		return false
	}
	s.said.Do(func() {
		what := errno.Error()
		if errno == unix.EMFILE {
			var l unix.Rlimit
			unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
			what = fmt.Sprintf("%s (the limit, ulimit -Hn, is %d)", what, l.Cur)
		}
		fmt.Fprintf(os.Stderr, "%s: new connections had to wait, and failed after %v\n", what, shortageTime)
	})
	return true
}

// raiseLimit takes as many descriptors as this process may have: each connection
// of the program needs one. Up to the hard limit Go's runtime has done it.
func raiseLimit() {
	const most = 1 << 20 // sysctl fs.nr_open
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil && l.Max < most {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}) // for who may
	}
}
