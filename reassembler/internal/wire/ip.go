package wire

func ipVersion(c *cursor) layer {
	if len(c.b) == 0 {
		return layerNone
	}
	switch c.b[0] >> 4 {
	case 4:
		return layerIPv4
	case 6:
		return layerIPv6
	}
	return layerNone
}

// ipv4 reads an IPv4 header (RFC 791, section 3.1).
func (p *Packet) ipv4(c *cursor) layer {
	b := c.b
	if len(b) < 20 || b[0]>>4 != 4 {
		return layerNone
	}
	header, total := int(b[0]&15)*4, int(be16(b[2:]))
	if total == 0 {
		// A super-frame above 64 KiB, or one captured before segmentation
		// offload filled the length in.
		total = c.n
	}
	if header < 20 || header > len(b) || total < header {
		return layerNone
	}
	if total < len(b) {
		b = b[:total] // padding of the link
	}
	p.Src = Addr{10: 0xff, 11: 0xff, 12: b[12], 13: b[13], 14: b[14], 15: b[15]}
	p.Dst = Addr{10: 0xff, 11: 0xff, 12: b[16], 13: b[17], 14: b[18], 15: b[19]}
	p.V6, p.Proto = false, b[9]
	p.Data, p.Len = b[header:], total-header
	c.b, c.n = p.Data, p.Len
	frag := be16(b[6:])
	if frag&0x3fff != 0 {
		p.Fragment, p.FragMore = true, frag&0x2000 != 0
		p.FragOff, p.FragID = int(frag&0x1fff)*8, uint32(be16(b[4:]))
		return layerFound
	}
	p.Fragment = false
	return layerProto
}

// ipv6 reads an IPv6 header and its extension headers (RFC 8200).
func (p *Packet) ipv6(c *cursor) layer {
	b := c.b
	if len(b) < 40 || b[0]>>4 != 6 {
		return layerNone
	}
	total := int(be16(b[4:])) + 40
	if total == 40 {
		total = c.n // jumbo payload (RFC 2675) or segmentation offload
	}
	if total < len(b) {
		b = b[:total]
	}
	p.Src, p.Dst = Addr(b[8:24]), Addr(b[24:40])
	p.V6, p.Proto, p.Fragment = true, b[6], false
	p.Data, p.Len = b[40:], total-40
	c.b, c.n = p.Data, p.Len
	return layerProto
}

// proto follows what an IP header carries, until TCP, UDP, ICMP or a fragment.
func (p *Packet) proto(c *cursor) layer {
	b := c.b
	switch p.Proto {
	case ProtoTCP, ProtoICMP, ProtoICMPv6:
		p.Data, p.Len = c.b, c.n
		return layerFound
	case ProtoUDP:
		p.Data, p.Len = c.b, c.n
		return p.udpTunnel(c)
	case protoIPv4:
		return layerIPv4
	case protoIPv6:
		return layerIPv6
	case protoEthernet:
		return layerEthernet
	case protoGRE:
		return gre(c)
	case protoHopByHop, protoRouting, protoDestOpts, protoMobility, protoHIP, protoShim6:
		if !p.V6 || len(b) < 8 {
			return layerNone
		}
		return p.extension(c, int(b[1])*8+8)
	case protoAH: // RFC 4302, section 2
		if len(b) < 12 {
			return layerNone
		}
		return p.extension(c, int(b[1])*4+8)
	case protoFragment:
		if !p.V6 || len(b) < 8 {
			return layerNone
		}
		p.Proto = b[0]
		off := be16(b[2:])
		id := be32(b[4:])
		c.skip(8)
		p.Data, p.Len = c.b, c.n
		if off&^6 == 0 { // atomic fragment (RFC 6946)
			return layerProto
		}
		p.Fragment, p.FragMore = true, off&1 != 0
		p.FragOff, p.FragID = int(off&^7), id
		return layerFound
	}
	return layerNone
}

func (p *Packet) extension(c *cursor, n int) layer {
	if n > len(c.b) {
		return layerNone
	}
	p.Proto = c.b[0]
	c.skip(n)
	return layerProto
}
