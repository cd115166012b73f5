//go:build linux

package netd

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// extendedError is a struct sock_extended_err (linux/errqueue.h) with the
// address of the machine that sent the ICMP message.
type extendedError struct {
	errno     unix.Errno
	origin    byte
	typ, code byte
	info      uint32 // next hop's MTU with EMSGSIZE
	offender  netip.Addr
}

// Origins of extended errors.
const (
	originICMP  = 2
	originICMP6 = 3
)

func parseExtendedError(oob []byte) (e extendedError, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return e, false
	}
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < 16 {
			continue
		}
		e = extendedError{
			errno: unix.Errno(binary.NativeEndian.Uint32(m.Data)), origin: m.Data[4], typ: m.Data[5], code: m.Data[6],
			info: binary.NativeEndian.Uint32(m.Data[8:]),
		}
		if sa := m.Data[16:]; len(sa) >= 8 {
			switch {
			case binary.NativeEndian.Uint16(sa) == unix.AF_INET:
				e.offender = netip.AddrFrom4([4]byte(sa[4:8]))
			case binary.NativeEndian.Uint16(sa) == unix.AF_INET6 && len(sa) >= 24:
				e.offender = netip.AddrFrom16([16]byte(sa[8:24]))
			}
		}
		return e, e.origin == originICMP || e.origin == originICMP6
	}
	return e, false
}

// errorQueue hands f what ICMP told the host about packets sent by a socket that
// has IP_RECVERR or IPV6_RECVERR (ip(7)): where each went, and the beginning of
// its payload. It returns when the queue is empty or the socket closed.
func errorQueue(rc syscall.RawConn, f func(e extendedError, to netip.AddrPort, payload []byte)) {
	for {
		payload, oob := make([]byte, 520), make([]byte, 512)
		var n, oobn int
		var sa unix.Sockaddr
		var rerr error
		err := rc.Control(func(fd uintptr) {
			n, oobn, _, sa, rerr = unix.Recvmsg(int(fd), payload, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		})
		if err != nil || rerr != nil {
			return
		}
		to, ok := fromSockaddr(sa)
		if e, isICMP := parseExtendedError(oob[:oobn]); ok && isICMP {
			f(e, to, payload[:n])
		}
	}
}

// passICMPError tells the sandbox what the host learnt about a datagram from
// src to dst with the given payload, or the beginning of it.
func (n *nat) passICMPError(e extendedError, src, dst netip.AddrPort, payload []byte) {
	payload = payload[:min(len(payload), 480)]
	h := headersLen(src.Addr())
	b := make([]byte, h+len(payload))
	copy(b[h:], payload)
	p, ok := parsePacket(putUDP(b, src, dst, len(payload)))
	if !ok {
		return
	}
	rest := uint32(0)
	if e.errno == unix.EMSGSIZE {
		rest = e.info
	}
	from := e.offender
	// The host's loopback is, seen from inside, where the datagram went.
	if !from.IsValid() || from.Is4() != dst.Addr().Is4() || from.IsLoopback() {
		from = dst.Addr()
	}
	n.sendICMPError(&p, from, e.typ, e.code, rest)
}

// sendTooBig tells the sandbox that the way to out takes only smaller packets.
func (n *nat) sendTooBig(p *packet, out netip.AddrPort) {
	mtu := uint32(1500)
	fd, err := unix.Socket(map[bool]int{true: unix.AF_INET, false: unix.AF_INET6}[out.Addr().Is4()], unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		if unix.Connect(fd, sockaddr(out)) == nil {
			level, opt := unix.IPPROTO_IP, unix.IP_MTU
			if out.Addr().Is6() {
				level, opt = unix.IPPROTO_IPV6, unix.IPV6_MTU
			}
			if v, err := unix.GetsockoptInt(fd, level, opt); err == nil {
				mtu = uint32(v)
			}
		}
	}
	if p.dst.Addr().Is4() {
		n.sendICMPError(p, subnet.Gateway4, icmp4Unreachable, 4, mtu) // fragmentation needed (RFC 1191)
		return
	}
	n.sendICMPError(p, subnet.Gateway6, 2, 0, mtu) // packet too big (RFC 4443, section 3.2)
}
