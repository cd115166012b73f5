package tlsdec

import "slices"

// quicCrypto puts the CRYPTO stream of one direction together (RFC 9000, section 19.6).
type quicCrypto struct {
	data  []byte // from offset 0, with holes
	holes []hole // ascending
}

type hole struct{ from, to int }

const (
	maxQUICCrypto = 64 << 10 // of Initial packets: one ClientHello
	maxQUICHoles  = 64
)

// add takes a CRYPTO frame.
func (q *quicCrypto) add(offset uint64, b []byte) {
	if offset > maxQUICCrypto || int(offset)+len(b) > maxQUICCrypto {
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
	if len(q.holes) > maxQUICHoles {
		*q = quicCrypto{}
		return
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

// ready is what is there without a hole.
func (q *quicCrypto) ready() []byte {
	if len(q.holes) > 0 {
		return q.data[:q.holes[0].from]
	}
	return q.data
}

// quicCryptoFrames gives each CRYPTO frame of an Initial packet to add, and
// stops at what does not belong into one.
func quicCryptoFrames(b []byte, add func(offset uint64, data []byte)) error {
	const padding, ping, ack, ackECN, crypto = 0, 1, 2, 3, 6
	ints := func(n int) ([4]uint64, bool) {
		var v [4]uint64
		for i := range n {
			x, l := quicVarint(b)
			if l == 0 {
				return v, false
			}
			v[i%4], b = x, b[l:]
		}
		return v, true
	}
	for len(b) > 0 {
		typ := b[0]
		b = b[1:]
		switch typ {
		case padding, ping:
		case ack, ackECN: // RFC 9000, section 19.3
			v, ok := ints(4)
			if !ok || v[2] > uint64(len(b)) {
				return errHandshake
			}
			n := 2 * int(v[2])
			if typ == ackECN {
				n += 3
			}
			if _, ok := ints(n); !ok {
				return errHandshake
			}
		case crypto:
			v, ok := ints(2)
			if !ok || v[1] > uint64(len(b)) {
				return errHandshake
			}
			add(v[0], b[:v[1]])
			b = b[v[1]:]
		default:
			return errHandshake
		}
	}
	return nil
}
