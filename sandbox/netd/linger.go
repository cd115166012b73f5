//go:build linux

package netd

import (
	"sync"
	"time"

	"clipper/sandbox/internal/sockdiag"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A kernel delivers what a program sent although the program has ended. So does
// netd: at the end it waits for the connections that the sandbox has closed.
const (
	lingerStuck = 5 * time.Second // without progress: the peer does not read
	lingerPoll  = 2 * time.Millisecond
)

// uploads are the relays that still copy what programs send.
type uploads struct {
	mu  sync.Mutex
	eps map[tcpip.Endpoint]struct{}
}

func (u *uploads) add(ep tcpip.Endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.eps == nil {
		u.eps = map[tcpip.Endpoint]struct{}{}
	}
	u.eps[ep] = struct{}{}
}

func (u *uploads) remove(ep tcpip.Endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.eps, ep)
}

// closed counts the uploads whose program has closed its end, and the bytes
// that gVisor holds of them.
func (u *uploads) closed() (count, bytes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for ep := range u.eps {
		switch tcp.EndpointState(ep.State()) {
		case tcp.StateEstablished, tcp.StateSynRecv, tcp.StateFinWait1, tcp.StateFinWait2:
			continue
		}
		count++
		n, _ := ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
		bytes += n
	}
	return count, bytes
}

// linger waits until the sandbox has nothing more to send, or cannot get rid of
// it, so that the programs' last words reach their peers.
func (n *nat) linger() {
	type left struct{ packets, kernel, kernelBytes, relays, relayBytes int }
	var last left
	since := time.Now()
	for quiet := 0; quiet < 2; { // twice: what left the kernel may not be a relay's yet
		var now left
		if n.tun.pending() {
			now.packets = 1
		}
		if n.diag != nil {
			for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
				n.diag.Closing(family, func(s sockdiag.Socket) {
					now.kernel++
					now.kernelBytes += int(s.Unsent)
				})
			}
		}
		now.relays, now.relayBytes = n.uploads.closed()
		switch {
		case now == left{}:
			quiet++
		case now != last:
			quiet, last, since = 0, now, time.Now()
		case time.Since(since) > lingerStuck:
			return
		default:
			quiet = 0
		}
		if quiet < 2 {
			time.Sleep(lingerPoll)
		}
	}
}

// pending reports whether packets wait in the tun device.
func (t *tun) pending() bool {
	p := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}
