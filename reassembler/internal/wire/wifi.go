package wire

import "encoding/binary"

// radiotap skips the header of LINKTYPE_IEEE802_11_RADIOTAP.
func radiotap(c *cursor) layer {
	if len(c.b) < 4 {
		return layerNone
	}
	n := int(binary.LittleEndian.Uint16(c.b[2:]))
	if n < 4 || n > len(c.b) {
		return layerNone
	}
	c.skip(n)
	return layerWiFi
}

// prism skips a Prism monitor header or the AVS header that shares its link
// type.
func prism(c *cursor) layer {
	if len(c.b) < 8 {
		return layerNone
	}
	n := int(binary.LittleEndian.Uint32(c.b[4:]))
	if be32(c.b)&0xfffff000 == 0x80211000 { // AVS, in network byte order
		n = int(be32(c.b[4:]))
	}
	if n < 8 || n > len(c.b) {
		return layerNone
	}
	c.skip(n)
	return layerWiFi
}

// ppi skips the per-packet information header, which names its payload's type.
func ppi(c *cursor) layer {
	if len(c.b) < 8 {
		return layerNone
	}
	n := int(binary.LittleEndian.Uint16(c.b[2:]))
	dlt := binary.LittleEndian.Uint32(c.b[4:])
	if n < 8 || n > len(c.b) || dlt == LinkPPI || dlt > 0xffff {
		return layerNone
	}
	c.skip(n)
	return link(c, uint16(dlt))
}

// wifi reads an unprotected 802.11 data frame (IEEE 802.11, section 9.3.2.1).
func wifi(c *cursor) layer {
	if len(c.b) < 24 {
		return layerNone
	}
	control, flags := c.b[0], c.b[1]
	const (
		typeData  = 2 << 2
		qos       = 0x80
		noData    = 0x40
		protected = 0x40
		order     = 0x80
	)
	if control&0x0f != typeData || control&noData != 0 || flags&protected != 0 {
		return layerNone
	}
	n := 24
	if flags&3 == 3 { // to and from a distribution system: four addresses
		n += 6
	}
	amsdu := false
	if control&qos != 0 {
		if len(c.b) < n+2 {
			return layerNone
		}
		amsdu = c.b[n]&0x80 != 0
		n += 2
		if flags&order != 0 { // HT control
			n += 4
		}
	}
	if amsdu { // the first subframe
		n += 14
	}
	if len(c.b) < n {
		return layerNone
	}
	c.skip(n)
	return layerLLC
}
