//go:build linux

package capture

import (
	"hash/maphash"

	"clipper/bus"
)

// reflections recognizes frames that netd sends back into the tun as they came:
// those between two programs of the sandbox that speak over 127.0.0.0/8 or ::1.
// They pass twice, first outwards by the tun, then inwards by the tun or, to ::1,
// by lo, and are recorded once.
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
	b := network(f.linkType, f.data)
	if !betweenLoopbacks(b) {
		return false
	}
	h := maphash.Bytes(r.seed, b)
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

// betweenLoopbacks reports whether both addresses of an IP packet are loopback ones.
func betweenLoopbacks(b []byte) bool {
	const loopbackNet = 127
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return b[12] == loopbackNet && b[16] == loopbackNet
	case len(b) >= 40 && b[0]>>4 == 6:
		return [16]byte(b[8:24]) == loopback6 && [16]byte(b[24:40]) == loopback6
	}
	return false
}

var loopback6 = [16]byte{15: 1}

func (r *reflections) forget(h uint64) {
	switch n := r.count[h]; {
	case n > 1:
		r.count[h] = n - 1
	case n == 1:
		delete(r.count, h)
	}
}
