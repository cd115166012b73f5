package reassembler

import (
	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// datagram takes one UDP datagram. A flow begins with its first datagram,
// whose sender is the client, and ends by its idle limit.
func (s *Stage) datagram(u *wire.Datagram) {
	k, fromB := newFlowKey(&s.packet, u.SrcPort, u.DstPort)
	c := s.lookup(&k)
	if c == nil {
		c = s.open(&k, fromB, false, nil)
	}
	c.last = max(c.last, s.now)
	s.depend(c, s.parts)
	d := c.dir(fromB)
	h := &c.half[d]
	var flags bus.Flags
	if u.Len > len(u.Payload) {
		flags = bus.Truncated
	}
	s.send(c, bus.Record{Type: bus.Data, Dir: d, Flags: flags, Offset: uint64(h.off), Time: s.now, Payload: u.Payload})
	h.off += int64(u.Len)
}
