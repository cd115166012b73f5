package reassembler

import (
	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// icmp takes a Destination Unreachable (RFC 792; RFC 4443, section 3.1) that
// quotes a SYN without answer: the connection attempt is over.
func (s *Stage) icmp() {
	const (
		unreachable4 = 3
		unreachable6 = 1
		fragNeeded   = 4
	)
	p := &s.packet
	b := p.Data
	if len(b) < 8 {
		return
	}
	link := uint16(wire.LinkIPv4)
	switch {
	case p.Proto == wire.ProtoICMP && b[0] == unreachable4 && b[1] != fragNeeded:
	case p.Proto == wire.ProtoICMPv6 && b[0] == unreachable6:
		link = wire.LinkIPv6
	default:
		return
	}
	code := []byte{b[0], b[1]}
	var quoted wire.Packet
	if !quoted.Decode(link, b[8:], 1<<16) || quoted.Fragment || len(quoted.Data) < 8 {
		return
	}
	var src, dst uint16
	var seq uint32
	if quoted.Proto != wire.ProtoTCP && quoted.Proto != wire.ProtoUDP {
		return
	}
	src, dst, seq = quoted.Start()
	k, fromB := newFlowKey(&quoted, src, dst)
	c := s.lookup(&k)
	if c == nil || c.ended {
		return
	}
	if p := c.pending; p != nil && p.dir == c.dir(fromB) && p.seq == seq {
		s.dropPending(c)
		return
	}
	if c.dir(fromB) != bus.ClientToServer {
		return
	}
	client, server := &c.half[bus.ClientToServer], &c.half[bus.ServerToClient]
	if c.udp() {
		if server.off > 0 {
			return
		}
	} else if !client.syn || client.isn != seq || server.based {
		return
	}
	s.send(c, bus.Record{Type: bus.Unreachable, Dir: bus.ServerToClient, Time: s.now, Payload: code})
	s.close(c, bus.EndUnreach, nil)
}
