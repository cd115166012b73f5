//go:build linux

package netd

import (
	"encoding/binary"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// echoTable passes ICMP echo through: each identifier of the sandbox has a ping
// socket (icmp(7), net.ipv4.ping_group_range) or, where the caller may, a raw
// socket on the host.
type echoTable struct {
	n  *nat
	mu sync.Mutex
	m  map[echoKey]*echoSession
}

type echoKey struct {
	src   netip.Addr
	ident uint16
}

type echoSession struct {
	t       *echoTable
	key     echoKey
	f       *os.File
	rc      syscall.RawConn
	raw     bool
	expires time.Time
	hops    byte
}

const (
	echoIdle = 30 * time.Second
	maxEchos = 256
)

func newEchoTable(n *nat) *echoTable { return &echoTable{n: n, m: map[echoKey]*echoSession{}} }

func (t *echoTable) fromSandbox(p *packet) {
	msg := p.body()
	dst := p.dst.Addr()
	if dst == subnet.Gateway4 || dst == subnet.Gateway6 || t.isResolver(dst) {
		t.n.sendICMP(dst, p.src.Addr(), echoReply(msg, dst.Is4(), binary.BigEndian.Uint16(msg[4:])))
		return
	}
	key := echoKey{p.src.Addr(), binary.BigEndian.Uint16(msg[4:])}
	t.mu.Lock()
	s := t.m[key]
	if s == nil {
		if s = t.open(key); s == nil {
			t.mu.Unlock()
			return // doctor tells why there is no answer
		}
	}
	s.expires = time.Now().Add(echoIdle)
	t.mu.Unlock()
	s.send(p, msg)
}

func (t *echoTable) isResolver(a netip.Addr) bool {
	_, ok := t.n.resolvers.at(a)
	return ok
}

// echoReply is msg, a request or a reply, as a reply with another identifier.
func echoReply(msg []byte, ip4 bool, ident uint16) []byte {
	b := append([]byte(nil), msg...)
	b[0] = icmp4EchoReply
	if !ip4 {
		b[0] = icmp6EchoReply
	}
	b[1] = 0
	binary.BigEndian.PutUint16(b[4:], ident)
	return b
}

func (t *echoTable) open(key echoKey) *echoSession {
	if len(t.m) >= maxEchos {
		return nil
	}
	family, proto, level, recvErr := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_RECVERR
	if key.src.Is6() {
		family, proto, level, recvErr = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	raw := false
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	}
	if err != nil {
		return nil
	}
	unix.SetsockoptInt(fd, level, recvErr, 1)
	f := os.NewFile(uintptr(fd), "echo")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil
	}
	s := &echoSession{t: t, key: key, f: f, rc: rc, raw: raw, hops: 64}
	t.m[key] = s
	time.AfterFunc(echoIdle, s.expire)
	go s.receive()
	return s
}

func (s *echoSession) expire() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if left := time.Until(s.expires); left > 0 {
		time.AfterFunc(left, s.expire)
		return
	}
	delete(s.t.m, s.key)
	s.f.Close()
}

func (s *echoSession) send(p *packet, msg []byte) {
	to := sockaddr(netip.AddrPortFrom(p.dst.Addr(), 0))
	s.rc.Control(func(fd uintptr) {
		if p.hops != s.hops {
			level, opt := unix.IPPROTO_IP, unix.IP_TTL
			if p.dst.Addr().Is6() {
				level, opt = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
			}
			unix.SetsockoptInt(int(fd), level, opt, int(p.hops))
			s.hops = p.hops
		}
		switch err := unix.Sendto(int(fd), msg, 0, to); err {
		case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EPERM:
			s.t.n.sendUnreachable(p, err.(unix.Errno))
		}
	})
}

func (s *echoSession) receive() {
	buf := make([]byte, 64<<10)
	for {
		var n int
		var sa unix.Sockaddr
		var errno error
		err := s.rc.Read(func(fd uintptr) bool {
			n, sa, errno = unix.Recvfrom(int(fd), buf, 0)
			return errno != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
		if errno != nil {
			s.receiveErrors()
			continue
		}
		from, ok := fromSockaddr(sa)
		msg := buf[:n]
		if s.raw && from.Addr().Is4() {
			p, isIP := parsePacket(msg)
			if !isIP {
				continue
			}
			msg = p.body()
		}
		if !ok || len(msg) < icmpHeaderLen || !s.isReply(msg) {
			continue
		}
		s.t.n.sendICMP(from.Addr().WithZone(""), s.key.src, echoReply(msg, from.Addr().Is4(), s.key.ident))
	}
}

// isReply: a raw socket sees every ICMP message of the host.
func (s *echoSession) isReply(msg []byte) bool {
	if s.raw && binary.BigEndian.Uint16(msg[4:]) != s.key.ident {
		return false
	}
	if s.key.src.Is4() {
		return msg[0] == icmp4EchoReply
	}
	return msg[0] == icmp6EchoReply
}

// receiveErrors passes on "time exceeded" and the like.
func (s *echoSession) receiveErrors() {
	errorQueue(s.rc, func(e extendedError, to netip.AddrPort, msg []byte) {
		if len(msg) < icmpHeaderLen {
			return
		}
		binary.BigEndian.PutUint16(msg[4:], s.key.ident)
		transport := byte(unix.IPPROTO_ICMP)
		if to.Addr().Is6() {
			transport = unix.IPPROTO_ICMPV6
		}
		b := make([]byte, ipv6HeaderLen+len(msg))
		h := putIP(b, s.key.src, to.Addr(), transport, len(msg), 1)
		p, ok := parsePacket(append(b[:h], msg...))
		if !ok {
			return
		}
		from := e.offender
		if !from.IsValid() {
			from = to.Addr()
		}
		s.t.n.sendICMPError(&p, from, e.typ, e.code, 0)
	})
}
