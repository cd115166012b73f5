package pcapng

import (
	"encoding/binary"
	"net/netip"
)

// packet is where the parts of a TCP segment or UDP datagram lie in its frame.
type packet struct {
	src, dst netip.AddrPort
	proto    byte // 6 TCP, 17 UDP
	header   int  // offset of the TCP or UDP header
	payload  int  // offset of what it carries
	end      int  // where the IP packet ends; behind it is padding
}

// LINKTYPE_ values and EtherTypes.
const (
	linkEthernet = 1
	linkRaw      = 101

	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

const (
	protoTCP = 6
	protoUDP = 17
)

// parsePacket finds the packet in a frame as Clipper captures them: raw IP, and
// Ethernet with VLAN tags or not. Fragments and what is not TCP or UDP are not
// ok.
func parsePacket(linkType uint16, b []byte) (p packet, ok bool) {
	off := 0
	switch linkType {
	case linkRaw:
	case linkEthernet:
		for off = 14; off <= len(b); off += 4 {
			switch binary.BigEndian.Uint16(b[off-2:]) {
			case etherVLAN, etherQinQ:
				continue
			case etherIPv4, etherIPv6:
				return parseIP(b, off)
			}
			return p, false
		}
		return p, false
	default:
		return p, false
	}
	return parseIP(b, off)
}

func parseIP(b []byte, off int) (p packet, ok bool) {
	ip := b[off:]
	if len(ip) < 20 {
		return p, false
	}
	var src, dst netip.Addr
	var head, total int
	switch ip[0] >> 4 {
	case 4:
		const moreFragments, fragmentOffset = 0x2000, 0x1fff
		if binary.BigEndian.Uint16(ip[6:])&(moreFragments|fragmentOffset) != 0 {
			return p, false
		}
		head, total = int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
		if head < 20 {
			return p, false
		}
		p.proto = ip[9]
		src, dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	case 6:
		if len(ip) < 40 {
			return p, false
		}
		head, total = 40, 40+int(binary.BigEndian.Uint16(ip[4:]))
		if total == 40 { // a jumbogram, or a super-frame of more than 64 KiB
			total = 0
		}
		p.proto = ip[6]
		src, dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	default:
		return p, false
	}
	if total == 0 { // segmentation offload
		total = len(ip)
	}
	p.header, p.end = off+head, off+min(total, len(ip))
	size := 8
	if p.proto == protoTCP {
		size = 20
	} else if p.proto != protoUDP {
		return p, false
	}
	if p.header+size > p.end {
		return p, false
	}
	if p.proto == protoTCP {
		size = int(b[p.header+12]>>4) * 4
		if size < 20 || p.header+size > p.end {
			return p, false
		}
	}
	p.payload = p.header + size
	p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[p.header:]))
	p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[p.header+2:]))
	return p, true
}

// fillChecksum computes the TCP or UDP checksum (RFC 9293, section 3.1;
// RFC 768) of a whole frame, which checksum offload left undone.
func fillChecksum(linkType uint16, b []byte) {
	p, ok := parsePacket(linkType, b)
	if !ok {
		return
	}
	at := p.header + 16
	if p.proto == protoUDP {
		at = p.header + 6
	}
	b[at], b[at+1] = 0, 0
	length := p.end - p.header
	sum := uint64(p.proto) + uint64(length)
	if a := p.src.Addr(); a.Is4() {
		s, d := a.As4(), p.dst.Addr().As4()
		sum = add(add(sum, s[:]), d[:])
	} else {
		s, d := a.As16(), p.dst.Addr().As16()
		sum = add(add(sum, s[:]), d[:])
	}
	sum = add(sum, b[p.header:p.end])
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	c := ^uint16(sum)
	if c == 0 && p.proto == protoUDP { // 0 stands for none
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], c)
}

// add adds the 16-bit words of b, a last odd byte filled up by zero.
func add(sum uint64, b []byte) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b)) // a word and 65536 times another, which counts as one
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}
