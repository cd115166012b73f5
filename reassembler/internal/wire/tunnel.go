package wire

// gre reads a GRE header: version 0 (RFC 2784, RFC 2890) and the version 1 of
// PPTP (RFC 2637).
func gre(c *cursor) layer {
	b := c.b
	if len(b) < 4 {
		return layerNone
	}
	flags, version := b[0], b[1]&7
	const (
		checksum = 0x80
		routing  = 0x40
		key      = 0x20
		sequence = 0x10
	)
	n := 4
	if flags&(checksum|routing) != 0 {
		n += 4
	}
	if flags&key != 0 {
		n += 4
	}
	if flags&sequence != 0 {
		n += 4
	}
	if version == 1 && b[1]&0x80 != 0 { // acknowledgment number
		n += 4
	}
	c.ether = be16(b[2:])
	if flags&routing != 0 || version > 1 || n > len(b) {
		return layerNone
	}
	c.skip(n)
	switch c.ether {
	case etherERSPAN2:
		if flags&sequence != 0 { // type II has a header of its own, type I has none
			return erspan(c, 8)
		}
		return layerEthernet
	case etherERSPAN3:
		if len(c.b) >= 12 && c.b[11]&1 != 0 { // platform-specific subheader
			return erspan(c, 20)
		}
		return erspan(c, 12)
	}
	return layerEtherType
}

func erspan(c *cursor, n int) layer {
	if len(c.b) < n {
		return layerNone
	}
	c.skip(n)
	return layerEthernet
}

// UDP ports of tunnels.
const (
	portVXLAN    = 4789
	portGeneve   = 6081
	portGTPU     = 2152
	portVXLANGPE = 4790
)

// udpTunnel looks into datagrams on the registered ports of tunnels, and
// falls back to the datagram itself where the tunnel header does not hold.
func (p *Packet) udpTunnel(c *cursor) layer {
	b := c.b
	if len(b) < 16 {
		return layerFound
	}
	inner := cursor{b: b[8:], n: c.n - 8, depth: c.depth}
	var next layer
	switch be16(b[2:]) {
	case portVXLAN, portVXLANGPE:
		if next = vxlan(&inner); next == layerNone {
			return layerFound
		}
	case portGeneve: // RFC 8926, section 3.4
		n := 8 + int(b[8]&0x3f)*4
		if b[8]>>6 != 0 || n > len(inner.b) {
			return layerFound
		}
		inner.ether = be16(b[10:])
		inner.skip(n)
		next = layerEtherType
	case portGTPU:
		if next = gtpu(&inner); next == layerNone {
			return layerFound
		}
	default:
		return layerFound
	}
	outer := *p
	if !p.walk(&inner, next) {
		*p = outer
	}
	return layerFound
}

// vxlan reads a VXLAN header (RFC 7348, section 5), or that of its generic
// protocol extension, which names the protocol that follows.
func vxlan(c *cursor) layer {
	const (
		instance = 0x08
		protocol = 0x04
	)
	b := c.b
	if len(b) < 8 || b[0]&^protocol != instance || b[1] != 0 || b[2] != 0 || b[7] != 0 {
		return layerNone
	}
	next := layerEthernet
	if b[0]&protocol != 0 {
		switch b[3] {
		case 1:
			next = layerIPv4
		case 2:
			next = layerIPv6
		case 3:
		default:
			return layerNone
		}
	}
	c.skip(8)
	return next
}

// gtpu reads a GTP-U header that carries a user packet (3GPP TS 29.281,
// section 5).
func gtpu(c *cursor) layer {
	b := c.b
	if len(b) < 8 || b[0]>>5 != 1 || b[0]&0x10 == 0 || b[1] != 0xff {
		return layerNone
	}
	n := 8
	if b[0]&7 != 0 {
		if len(b) < 12 {
			return layerNone
		}
		n = 12
		if b[0]&4 != 0 {
			for next := b[11]; next != 0; {
				if n >= len(b) || b[n] == 0 {
					return layerNone
				}
				end := n + int(b[n])*4
				if end > len(b) {
					return layerNone
				}
				next, n = b[end-1], end
			}
		}
	}
	c.skip(n)
	return layerIP
}
