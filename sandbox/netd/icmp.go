//go:build linux

package netd

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// ICMP types and codes (RFC 792, RFC 1122 section 3.2.2.1, RFC 4443).
const (
	icmp4EchoReply   = 0
	icmp4Unreachable = 3
	icmp4Echo        = 8

	icmp6Unreachable = 1
	icmp6Echo        = 128
	icmp6EchoReply   = 129

	net4Unreachable, host4Unreachable, port4Unreachable, netProhibited4, prohibited4 = 0, 1, 3, 9, 13
	noRoute6, prohibited6, address6Unreachable, port6Unreachable                     = 0, 1, 3, 4
)

// takeICMP handles every ICMP packet of the sandbox.
func (n *nat) takeICMP(p *packet, vnet []byte) {
	dst := p.dst.Addr()
	if dst.IsLoopback() {
		n.tun.reflect(vnet, p.b) // its own kernel answers pings, and gets its own errors
		return
	}
	if t := p.body()[0]; p.transport == unix.IPPROTO_ICMP && t == icmp4Echo && dst.Is4() || p.transport == unix.IPPROTO_ICMPV6 && t == icmp6Echo {
		if n.shape.offline() {
			n.sendUnreachable(p, unix.ENETUNREACH)
			return
		}
		n.echo.fromSandbox(p)
	}
}

// unreachable is the ICMP type and code that makes a kernel give errno.
func unreachable(ip4 bool, errno unix.Errno) (typ, code byte) {
	if ip4 {
		switch errno {
		case unix.ENETUNREACH:
			return icmp4Unreachable, net4Unreachable
		case unix.ECONNREFUSED:
			return icmp4Unreachable, port4Unreachable
		case unix.EACCES, unix.EPERM:
			return icmp4Unreachable, prohibited4
		}
		return icmp4Unreachable, host4Unreachable
	}
	switch errno {
	case unix.ENETUNREACH:
		return icmp6Unreachable, noRoute6
	case unix.ECONNREFUSED:
		return icmp6Unreachable, port6Unreachable
	case unix.EACCES, unix.EPERM:
		return icmp6Unreachable, prohibited6
	}
	return icmp6Unreachable, address6Unreachable
}

// sendUnreachable tells the sandbox that its packet p could not be delivered.
func (n *nat) sendUnreachable(p *packet, errno unix.Errno) {
	from := subnet.Gateway4
	switch {
	case p.dst.Addr().IsLoopback() || p.dst.Addr().Is4() && errno == unix.ECONNREFUSED:
		from = p.dst.Addr() // the addressed machine itself
	case p.dst.Addr().Is6():
		from = subnet.Gateway6
	}
	typ, code := unreachable(p.dst.Addr().Is4(), errno)
	n.sendICMPError(p, from, typ, code, 0)
}

// sendProhibited is sendUnreachable with the codes for what an administrator
// prohibits, which a kernel reports to connected UDP sockets, too.
func (n *nat) sendProhibited(p *packet, errno unix.Errno) {
	switch {
	case p.transport == unix.IPPROTO_TCP:
		n.sendUnreachable(p, errno)
	case p.dst.Addr().Is6():
		n.sendICMPError(p, subnet.Gateway6, icmp6Unreachable, prohibited6, 0)
	case errno == unix.ENETUNREACH:
		n.sendICMPError(p, subnet.Gateway4, icmp4Unreachable, netProhibited4, 0)
	default:
		n.sendICMPError(p, subnet.Gateway4, icmp4Unreachable, prohibited4, 0)
	}
}

// sendICMPError sends an ICMP error about packet p. rest is the second word of
// its header, for example the next hop's MTU.
func (n *nat) sendICMPError(p *packet, from netip.Addr, typ, code byte, rest uint32) {
	// As much as fits (RFC 1812, section 4.3.2.3: 576 bytes; RFC 4443: 1280).
	quote := p.b[:min(len(p.b), 520)]
	b := make([]byte, icmpHeaderLen, icmpHeaderLen+len(quote))
	b[0], b[1] = typ, code
	binary.BigEndian.PutUint32(b[4:], rest)
	n.sendICMP(from, p.src.Addr(), append(b, quote...))
}

// sendICMP sends a message whose checksum is not yet filled in.
func (n *nat) sendICMP(src, dst netip.Addr, msg []byte) {
	transport, sum := byte(unix.IPPROTO_ICMP), uint32(0)
	if src.Is6() {
		transport = unix.IPPROTO_ICMPV6
		sum = pseudo(src, dst, transport, len(msg))
	}
	msg[2], msg[3] = 0, 0
	binary.BigEndian.PutUint16(msg[2:], checksum(sum, msg))
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(msg))
	h := putIP(b, src, dst, transport, len(msg), 64)
	n.sendFragments(slices.Concat(b[:h], msg))
}

// padQuote lets parsePacket read a packet that was cut behind its headers.
func padQuote(b []byte) []byte {
	if len(b) < ipv4HeaderLen {
		return nil
	}
	b = slices.Clone(b)
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], checksum(0, b[:int(b[0]&15)*4]))
	} else if len(b) >= ipv6HeaderLen {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	}
	return b
}
