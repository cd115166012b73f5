package tlsdec

import "slices"

// quicCrypto puts the CRYPTO stream of one direction together (RFC 9000, section 19.6).
type quicCrypto struct {
	data  []byte // from offset 0, with holes
	holes []hole // ascending
	given int    // bytes of data that take returned
	over  bool   // nothing more is taken
}

type hole struct{ from, to int }

const (
	maxQUICCrypto = 128 << 10 // bytes of the handshake in one epoch
	maxQUICHoles  = 64
)

// add takes a CRYPTO frame.
func (q *quicCrypto) add(offset uint64, b []byte) {
	if offset > maxQUICCrypto || int(offset)+len(b) > maxQUICCrypto || len(q.holes) >= maxQUICHoles || q.over {
		return
	}
	from, to := int(offset), int(offset)+len(b)
	if to > len(q.data) {
		if from > len(q.data) {
			q.holes = append(q.holes, hole{len(q.data), from})
		}
		q.data = append(q.data, make([]byte, to-len(q.data))...)
	} else if len(q.holes) == 0 {
		return // known
	}
	copy(q.data[from:], b)
	var left []hole
	for _, h := range q.holes {
		if to <= h.from || h.to <= from {
			left = append(left, h)
			continue
		}
		if h.from < from {
			left = append(left, hole{h.from, from})
		}
		if to < h.to {
			left = append(left, hole{to, h.to})
		}
	}
	q.holes = slices.Clip(left)
}

// take returns what has become readable without a hole since the last time.
func (q *quicCrypto) take() []byte {
	to := len(q.data)
	if len(q.holes) > 0 {
		to = q.holes[0].from
	}
	from := q.given
	q.given = max(from, to)
	return q.data[from:q.given]
}

// dropCrypto forgets the bytes of the handshake, which is over or given up.
func (q *quicFlow) dropCrypto() {
	for d := range q.sides {
		q.sides[d].crypto = [2]quicCrypto{{over: true}, {over: true}}
	}
}
