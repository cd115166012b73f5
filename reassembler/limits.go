package reassembler

import "time"

// Times are packet times, in ns.
const (
	// idleLimit ends an established connection (RFC 5382, REQ-5: not before
	// 2 hours 4 minutes).
	idleLimit = int64(2*time.Hour + 4*time.Minute)
	// tailLimit is how long a half-open or partial connection lives without
	// packets, and how long an ended one is remembered. It exceeds the longest
	// pause between two SYNs of a common retry schedule (32 s).
	tailLimit = int64(60 * time.Second)
	// udpIdleLimit ends a flow of datagrams (RFC 4787, REQ-5: not before 2 minutes).
	udpIdleLimit = int64(2 * time.Minute)
	// gapDelay is how long acknowledged bytes may be missing before they count
	// as lost: captures deliver packets out of order.
	gapDelay = int64(time.Second)
)

// Limits on memory.
const (
	maxOpen       = 1 << 16  // connections and flows
	maxTombstones = 1 << 18  // ended connections
	maxHeld       = 8 << 20  // out-of-order bytes of one direction
	maxHeldTotal  = 64 << 20 // out-of-order bytes in all
	maxSegments   = 8 << 10  // out-of-order segments of one direction
	segmentCost   = 128      // bytes that a segment counts beside its payload
	maxJump       = 1 << 30  // sequence numbers farther off belong to something else
)
