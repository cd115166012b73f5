//go:build linux

package capture

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// waker waits for a ring, or for the end of a context.
type waker struct {
	event int // eventfd
	stop  func() bool
	woken bool
}

func newWaker(ctx context.Context) (*waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("capture: eventfd: %w", err)
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		unix.Write(fd, []byte{1, 1, 1, 1, 1, 1, 1, 0}) // any number wakes
		close(done)
	})
	return &waker{event: fd, stop: func() bool {
		stopped := stop()
		if !stopped {
			<-done
		}
		return stopped
	}}, nil
}

func (w *waker) close() {
	w.stop()
	unix.Close(w.event)
}

// wait returns when the kernel may have closed a block, or, once, when the
// context is done. After that, and if it is to be short, it waits for
// RetireTimeout at most.
func (w *waker) wait(r *Ring, short bool) error {
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(w.event), Events: unix.POLLIN}}
	timeout := -1
	if short {
		timeout = RetireTimeout
	}
	if w.woken {
		fds, timeout = fds[:1], RetireTimeout
	}
	if _, err := unix.Poll(fds, timeout); err != nil && err != unix.EINTR {
		return fmt.Errorf("capture: poll the packet socket: %w", err)
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		// An interface went down. Reading the error clears it.
		unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	}
	w.woken = w.woken || len(fds) > 1 && fds[1].Revents != 0
	return nil
}
