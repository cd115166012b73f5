//go:build linux

package netd

import (
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fragments puts together the datagrams that are larger than the tun's MTU (RFC
// 791, section 3.2; RFC 8200, section 4.5).
type fragments struct {
	list []*datagramParts // oldest first
}

// Limits of what is not whole yet.
const (
	maxPartial  = 32 // datagrams; the oldest makes room
	partialTime = 30 * time.Second
)

// datagramParts is a datagram of which some fragments have come.
type datagramParts struct {
	key   string // addresses, protocol and identification
	since time.Duration
	head  []byte // the IP header of the first fragment, without the fragment header
	body  []byte // as far as known
	parts []part // in the order of their offsets, none overlapping
	end   int    // length of the body, 0 while unknown
}

type part struct{ from, to int }

const fragmentHeaderLen = 8

// fragment is one fragment of a datagram.
type fragment struct {
	key        string
	head, body []byte
	offset     int
	more       bool
}

// parseFragment reads an IP packet that parsePacket took. A packet that is no
// fragment is refused.
func parseFragment(b []byte) (f fragment, ok bool) {
	if b[0]>>4 == 4 {
		field := binary.BigEndian.Uint16(b[6:])
		h := int(b[0]&15) * 4
		f.key = string(b[4:6]) + string(b[9:10]) + string(b[12:20])
		f.head, f.body = b[:h], b[h:]
		f.offset, f.more = int(field&0x1fff)*8, field&0x2000 != 0
		return f, f.offset > 0 || f.more
	}
	if b[6] != unix.IPPROTO_FRAGMENT || len(b) < ipv6HeaderLen+fragmentHeaderLen {
		return f, false
	}
	x := b[ipv6HeaderLen : ipv6HeaderLen+fragmentHeaderLen]
	field := binary.BigEndian.Uint16(x[2:])
	f.key = string(x[4:8]) + string(x[:1]) + string(b[8:40])
	f.head, f.body = slices.Clone(b[:ipv6HeaderLen]), b[ipv6HeaderLen+fragmentHeaderLen:]
	f.head[6] = x[0]
	f.offset, f.more = int(field&^7), field&1 != 0
	return f, true
}

// add takes a fragment, and returns the packet when it is the last one missing.
func (t *fragments) add(b []byte, now time.Duration) []byte {
	f, ok := parseFragment(b)
	if !ok || len(f.body) == 0 || f.more && len(f.body)%8 != 0 || len(f.head)+f.offset+len(f.body) > maxPacket {
		return nil
	}
	for len(t.list) > 0 && now-t.list[0].since > partialTime {
		t.list = t.list[1:]
	}
	i := slices.IndexFunc(t.list, func(d *datagramParts) bool { return d.key == f.key })
	if i < 0 {
		if len(t.list) == maxPartial {
			t.list = t.list[1:]
		}
		i = len(t.list)
		t.list = append(t.list, &datagramParts{key: f.key, since: now})
	}
	d := t.list[i]
	fits, whole := d.add(&f)
	if !fits || whole {
		t.list = slices.Delete(t.list, i, i+1)
	}
	if !whole {
		return nil
	}
	return d.packet()
}

// add reports whether the fragment goes with the others, which do not overlap
// (RFC 5722), and whether it is the last one missing.
func (d *datagramParts) add(f *fragment) (fits, whole bool) {
	p := part{f.offset, f.offset + len(f.body)}
	i, _ := slices.BinarySearchFunc(d.parts, p, func(a, b part) int { return a.from - b.from })
	if i > 0 && d.parts[i-1].to > p.from || i < len(d.parts) && d.parts[i].from < p.to {
		return false, false
	}
	if !f.more {
		if d.end != 0 {
			return false, false
		}
		d.end = p.to
	}
	if d.end != 0 && p.to > d.end {
		return false, false
	}
	d.parts = slices.Insert(d.parts, i, p)
	if f.offset == 0 {
		d.head = slices.Clone(f.head)
	}
	if len(d.body) < p.to {
		d.body = append(d.body, make([]byte, p.to-len(d.body))...)
	}
	copy(d.body[p.from:], f.body)
	if d.end == 0 || len(d.body) != d.end || d.head == nil {
		return true, false
	}
	have := 0
	for _, p := range d.parts {
		have += p.to - p.from
	}
	return true, have == d.end
}

// packet is the datagram as if it had come in one packet.
func (d *datagramParts) packet() []byte {
	b := slices.Concat(d.head, d.body)
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[6:], 0)
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], checksum(0, b[:len(d.head)]))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(d.body)))
	}
	return b
}
