package wire

import "encoding/binary"

// Link types of the pcap-ng registry (LINKTYPE_) that Decode knows.
const (
	LinkNull     = 0
	LinkEthernet = 1
	LinkPPP      = 9
	LinkRaw12    = 12 // DLT_RAW, written into files by some systems
	LinkRaw14    = 14 // the same on OpenBSD
	LinkPPPHDLC  = 50
	LinkPPPoE    = 51
	LinkRaw      = 101
	LinkCHDLC    = 104
	LinkWiFi     = 105
	LinkLoop     = 108
	LinkSLL      = 113
	LinkPrism    = 119
	LinkRadiotap = 127
	LinkPPPPPPD  = 166
	LinkPPI      = 192
	LinkPPPDir   = 204
	LinkIPv4     = 228
	LinkIPv6     = 229
	LinkSLL2     = 276
)

func link(c *cursor, linkType uint16) layer {
	b := c.b
	switch linkType {
	case LinkEthernet:
		return layerEthernet
	case LinkRaw, LinkRaw12, LinkRaw14:
		return layerIP
	case LinkIPv4:
		return layerIPv4
	case LinkIPv6:
		return layerIPv6
	case LinkNull, LinkLoop:
		return loopback(c)
	case LinkSLL:
		if len(b) < 16 {
			return layerNone
		}
		c.ether = be16(b[14:])
		if arp := be16(b[2:]); arp == 778 { // ARPHRD_IPGRE: the field is the GRE protocol type
			c.ether = be16(b[14:])
		}
		c.skip(16)
		return cooked(c)
	case LinkSLL2:
		if len(b) < 20 {
			return layerNone
		}
		c.ether = be16(b)
		c.skip(20)
		return cooked(c)
	case LinkPPP, LinkPPPHDLC:
		return layerPPP
	case LinkPPPDir:
		if len(b) < 1 {
			return layerNone
		}
		c.skip(1)
		return layerPPP
	case LinkPPPPPPD:
		// Direction, then the protocol as in PPP.
		if len(b) < 1 {
			return layerNone
		}
		c.skip(1)
		return layerPPP
	case LinkPPPoE:
		return pppoe(c)
	case LinkCHDLC:
		if len(b) < 4 {
			return layerNone
		}
		c.ether = be16(b[2:])
		c.skip(4)
		return layerEtherType
	case LinkWiFi:
		return layerWiFi
	case LinkRadiotap:
		return layerRadiotap
	case LinkPrism:
		return prism(c)
	case LinkPPI:
		return ppi(c)
	}
	return layerNone
}

// loopback is the BSD header: the address family in the byte order of the
// host (NULL) or of the network (LOOP). The families of IPv6 differ between
// systems: 10, 24, 28, 30.
func loopback(c *cursor) layer {
	if len(c.b) < 4 {
		return layerNone
	}
	family := binary.LittleEndian.Uint32(c.b)
	if family > 0xffff {
		family = be32(c.b)
	}
	c.skip(4)
	switch family {
	case 2:
		return layerIPv4
	case 10, 24, 28, 30:
		return layerIPv6
	}
	return layerNone
}

// cooked continues after an SLL header, whose protocol may be one of Linux's
// own numbers for frames without an EtherType.
func cooked(c *cursor) layer {
	switch c.ether {
	case 4: // ETH_P_802_2
		return layerLLC
	case 0x0c: // ETH_P_CAN
		return layerNone
	}
	return layerEtherType
}

func ethernet(c *cursor) layer {
	if len(c.b) < 14 {
		return layerNone
	}
	c.ether = be16(c.b[12:])
	c.skip(14)
	if c.ether < 0x600 { // a length: IEEE 802.3
		return layerLLC
	}
	return layerEtherType
}

// EtherTypes.
const (
	etherIPv4    = 0x0800
	etherIPv6    = 0x86dd
	etherVLAN    = 0x8100
	etherQinQ    = 0x88a8
	etherQinQOld = 0x9100
	etherMPLS    = 0x8847
	etherMPLSm   = 0x8848
	etherPPPoE   = 0x8864
	etherTEB     = 0x6558 // transparent Ethernet bridging
	etherERSPAN2 = 0x88be
	etherERSPAN3 = 0x22eb
	etherPPP     = 0x880b
	etherNSH     = 0x894f
	etherMACsec  = 0x88e5
)

func etherType(c *cursor) layer {
	switch c.ether {
	case etherIPv4:
		return layerIPv4
	case etherIPv6:
		return layerIPv6
	case etherVLAN, etherQinQ, etherQinQOld:
		if len(c.b) < 4 {
			return layerNone
		}
		c.ether = be16(c.b[2:])
		c.skip(4)
		if c.ether < 0x600 {
			return layerLLC
		}
		return layerEtherType
	case etherMPLS, etherMPLSm:
		return mpls(c)
	case etherPPPoE:
		return pppoe(c)
	case etherPPP:
		return layerPPP
	case etherTEB:
		return layerEthernet
	}
	return layerNone
}

// mpls pops the label stack (RFC 3032); what follows shows only in its first
// nibble, where 0 is the control word of an Ethernet pseudowire (RFC 4385).
func mpls(c *cursor) layer {
	for len(c.b) >= 4 {
		bottom := c.b[2]&1 != 0
		c.skip(4)
		if !bottom {
			continue
		}
		if len(c.b) >= 4 && c.b[0]>>4 == 0 {
			c.skip(4)
			return layerEthernet
		}
		return layerIP
	}
	return layerNone
}

// pppoe is a PPPoE session header (RFC 2516, section 4).
func pppoe(c *cursor) layer {
	if len(c.b) < 6 || c.b[0] != 0x11 || c.b[1] != 0 {
		return layerNone
	}
	c.skip(6)
	return layerPPP
}

// ppp reads the protocol field with or without the address and control bytes,
// both possibly compressed (RFC 1661, section 6.5; RFC 1662, section 3.1).
func ppp(c *cursor) layer {
	if len(c.b) >= 2 && c.b[0] == 0xff && c.b[1] == 0x03 {
		c.skip(2)
	}
	if len(c.b) < 2 {
		return layerNone
	}
	var proto uint16
	if c.b[0]&1 != 0 {
		proto = uint16(c.b[0])
		c.skip(1)
	} else {
		proto = be16(c.b)
		c.skip(2)
	}
	switch proto {
	case 0x0021:
		return layerIPv4
	case 0x0057:
		return layerIPv6
	case 0x0281:
		c.ether = etherMPLS
		return layerEtherType
	}
	return layerNone
}

// llc is an IEEE 802.2 header; only SNAP carries IP.
func llc(c *cursor) layer {
	if len(c.b) < 8 || c.b[0] != 0xaa || c.b[1] != 0xaa || c.b[2] != 3 {
		return layerNone
	}
	c.ether = be16(c.b[6:])
	c.skip(8)
	return layerEtherType
}
