//go:build linux

package capture

import (
	"hash/maphash"

	"clipper/bus"
)

// reflections recognizes frames that netd sends back into the tun as they came:
// those between two programs of the sandbox that speak over 127.0.0.0/8. They
// pass the tun twice, first outwards, then inwards, and are recorded once.
//
// It forgets with the reader. Then, or when more than maxReflections are under
// way, a frame is recorded twice, which a receiver takes for a retransmission.
type reflections struct {
	seed   maphash.Seed
	count  map[uint64]int // frames that went out and have not come back, by hash
	recent [maxReflections]uint64
	next   int
}

const maxReflections = 4096

func newReflections() *reflections {
	return &reflections{seed: maphash.MakeSeed(), count: map[uint64]int{}}
}

// repeats reports whether f is the second copy of a frame.
func (r *reflections) repeats(f *frame) bool {
	const loopbackNet, ipv4 = 127, 4
	if f.linkType != linkRaw || len(f.data) < 20 || f.data[0]>>4 != ipv4 || f.data[12] != loopbackNet || f.data[16] != loopbackNet {
		return false
	}
	h := maphash.Bytes(r.seed, f.data)
	if f.flags&bus.Outgoing == 0 {
		if r.count[h] == 0 {
			return false
		}
		r.forget(h)
		return true
	}
	r.forget(r.recent[r.next])
	r.recent[r.next] = h
	r.next = (r.next + 1) % maxReflections
	r.count[h]++
	return false
}

func (r *reflections) forget(h uint64) {
	switch n := r.count[h]; {
	case n > 1:
		r.count[h] = n - 1
	case n == 1:
		delete(r.count, h)
	}
}
