//go:build linux

package netd

import (
	"encoding/binary"
	"net/netip"

	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

// packet is an IP packet and where its parts are.
type packet struct {
	b         []byte // whole, from the IP header
	src, dst  netip.AddrPort
	transport byte // unix.IPPROTO_*; 0 if extension headers or a fragment hide it
	header    int  // bytes before the transport's header
	hops      byte // TTL or hop limit
}

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	udpHeaderLen  = 8
	icmpHeaderLen = 8
)

// parsePacket reads the headers of an IP packet; its ports are 0 unless the
// transport is TCP or UDP.
func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) < ipv4HeaderLen {
		return p, false
	}
	var src, dst netip.Addr
	switch b[0] >> 4 {
	case 4:
		p.header = int(b[0]&15) * 4
		total := int(binary.BigEndian.Uint16(b[2:]))
		if p.header < ipv4HeaderLen || total < p.header || total > len(b) {
			return p, false
		}
		b = b[:total]
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.hops = b[8]
		if binary.BigEndian.Uint16(b[6:])&0x3fff == 0 { // neither more fragments nor an offset
			p.transport = b[9]
		}
	case 6:
		if len(b) < ipv6HeaderLen {
			return p, false
		}
		p.header = ipv6HeaderLen
		total := ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return p, false
		}
		b = b[:total]
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.hops = b[7]
		switch b[6] {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6:
			p.transport = b[6]
		}
	default:
		return p, false
	}
	p.b = b
	t := p.body()
	var sport, dport uint16
	switch p.transport {
	case unix.IPPROTO_TCP:
		if len(t) < tcp.HeaderLen {
			return p, false
		}
		sport, dport = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	case unix.IPPROTO_UDP:
		if len(t) < udpHeaderLen {
			return p, false
		}
		sport, dport = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if len(t) < icmpHeaderLen {
			return p, false
		}
	}
	p.src, p.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return p, true
}

// body is the transport's header and what follows.
func (p *packet) body() []byte { return p.b[p.header:] }

// datagram is the payload of a UDP packet.
func (p *packet) datagram() ([]byte, bool) {
	t := p.body()
	if p.transport != unix.IPPROTO_UDP {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(t[4:]))
	if n < udpHeaderLen || n > len(t) {
		return nil, false
	}
	return t[udpHeaderLen:n], true
}

// checksum is the Internet checksum (RFC 1071) of the parts, each of which but
// the last has an even length.
func checksum(sum uint32, parts ...[]byte) uint16 {
	s := uint64(sum)
	for _, b := range parts {
		for ; len(b) >= 8; b = b[8:] {
			v := binary.BigEndian.Uint64(b)
			s += v>>32 + v&0xffffffff
		}
		for ; len(b) >= 2; b = b[2:] {
			s += uint64(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			s += uint64(b[0]) << 8
		}
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// pseudo is the sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).
func pseudo(src, dst netip.Addr, transport byte, length int) uint32 {
	var s uint32
	for _, a := range [][]byte{src.AsSlice(), dst.AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			s += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	return s + uint32(transport) + uint32(length>>16) + uint32(length&0xffff)
}

// putIP writes an IP header for n bytes of a transport and returns its length.
// b has room for it.
func putIP(b []byte, src, dst netip.Addr, transport byte, n int, hops byte) int {
	if src.Is4() {
		clear(b[:ipv4HeaderLen])
		b[0] = 0x45
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4HeaderLen+n))
		b[8], b[9] = hops, transport
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		binary.BigEndian.PutUint16(b[10:], checksum(0, b[:ipv4HeaderLen]))
		return ipv4HeaderLen
	}
	clear(b[:8])
	b[0] = 0x60
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	b[6], b[7] = transport, hops
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return ipv6HeaderLen
}

// putUDP writes the headers of a datagram in front of its payload, which
// stands at b[headersLen(src):], and returns the packet.
func putUDP(b []byte, src, dst netip.AddrPort, payload int) []byte {
	n := udpHeaderLen + payload
	h := putIP(b, src.Addr(), dst.Addr(), unix.IPPROTO_UDP, n, 64)
	t := b[h : h+n]
	binary.BigEndian.PutUint16(t[0:], src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint16(t[4:], uint16(n))
	t[6], t[7] = 0, 0
	c := checksum(pseudo(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, n), t)
	if c == 0 {
		c = 0xffff // 0 means none (RFC 768)
	}
	binary.BigEndian.PutUint16(t[6:], c)
	return b[:h+n]
}

func headersLen(a netip.Addr) int {
	if a.Is4() {
		return ipv4HeaderLen + udpHeaderLen
	}
	return ipv6HeaderLen + udpHeaderLen
}
