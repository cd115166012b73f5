//go:build linux

package netd

import (
	"time"

	"clipper/sandbox/internal/sockdiag"

	"golang.org/x/sys/unix"
)

// A kernel delivers what a program sent although the program has ended. So does
// netd: at the end it waits for the connections that the sandbox has closed.
const (
	lingerStuck = 5 * time.Second // without progress: the peer does not read
	lingerPoll  = 2 * time.Millisecond
)

// linger waits until the sandbox has nothing more to send, or cannot get rid of
// it, so that the programs' last words reach their peers.
func (n *nat) linger() {
	type left struct{ kernel, kernelBytes, flows, flowBytes int }
	var last left
	since := time.Now()
	for {
		var now left
		// What the kernel does not have any more, the loop has.
		if n.diag != nil {
			for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
				n.diag.Closing(family, func(s sockdiag.Socket) {
					now.kernel++
					now.kernelBytes += int(s.Unsent)
				})
			}
		}
		if !n.loop.call(func() { now.flows, now.flowBytes = n.loop.unsent() }) || now == (left{}) {
			return
		}
		if now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > lingerStuck {
			return
		}
		time.Sleep(lingerPoll)
	}
}

// unsent takes all packets that have come, and counts the flows with bytes for
// the host, and these bytes.
func (l *loop) unsent() (flows, bytes int) {
	const rounds = 32 // the queue of a tun is shorter; whoever sends on is not waited for
	l.tunMore = true
	for range rounds {
		if !l.tunMore || l.readTun() != nil {
			break
		}
	}
	for _, f := range l.slots {
		if f != nil && f.backlog.len() > 0 {
			flows++
			bytes += f.backlog.len()
		}
	}
	return flows, bytes
}
