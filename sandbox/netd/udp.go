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

// UDP passes through without a state machine. Each socket of the sandbox (its
// address and port) has one socket on the host, as a NAT with
// endpoint-independent mapping has (RFC 4787, section 4.1): what comes for it is
// sent in, and the program's kernel filters as outside.

// Limits of UDP state.
const (
	udpIdle     = 180 * time.Second // mapping whose peer has answered (RFC 4787, section 4.3: two minutes or more)
	udpOneWay   = 30 * time.Second  // that nobody has answered
	maxSessions = 8192              // mappings; the oldest idle one makes room
	reflectFor  = time.Second       // that a decision to reflect holds
	maxPeers    = 1024              // peers of a mapping whose translation is remembered
)

type udpTable struct {
	n *nat

	mu        sync.Mutex
	sessions  map[netip.AddrPort]*udpSession
	reflected map[[2]netip.AddrPort]time.Time // until when
	published map[uint16]func(b []byte)       // by port of the gateway: to a client of a published port
}

func newUDPTable(n *nat) *udpTable {
	return &udpTable{n: n, sessions: map[netip.AddrPort]*udpSession{}, reflected: map[[2]netip.AddrPort]time.Time{}, published: map[uint16]func([]byte){}}
}

// udpSession is the host's socket for one socket of the sandbox.
type udpSession struct {
	t   *udpTable
	src netip.AddrPort // inside
	f   *os.File
	rc  syscall.RawConn
	fd  int // valid under mu while !closed

	mu       sync.Mutex
	closed   bool
	hops     byte                              // TTL the socket has
	peers    map[netip.AddrPort]netip.AddrPort // host's view of a peer -> the sandbox's
	last     time.Time                         // a datagram either way
	answered bool
	timer    *time.Timer

	up, down *line // datagrams that wait; nil while nothing is asked. down is of receive
}

// fromSandbox takes one UDP packet.
func (t *udpTable) fromSandbox(p *packet, vnet []byte) {
	b, ok := p.datagram()
	if !ok {
		return
	}
	dst := p.dst
	if dst.Addr() == subnet.Gateway4 {
		t.mu.Lock()
		deliver := t.published[dst.Port()]
		t.mu.Unlock()
		if deliver != nil {
			if !t.n.shape.offline() {
				deliver(b)
			}
			return
		}
	}
	local := dst.Addr().IsLoopback()
	t.mu.Lock()
	s := t.sessions[p.src]
	if local && t.n.diag != nil && !s.knows(dst) {
		if t.isInside(p) {
			t.mu.Unlock()
			t.n.tun.reflect(vnet, p.b)
			return
		}
	}
	if s == nil {
		var err error
		if s, err = t.open(p.src); err != nil {
			t.mu.Unlock()
			t.n.shortage.is(err)
			return // as lost
		}
	}
	t.mu.Unlock()
	s.send(p, b)
}

// isInside reports whether a socket of the sandbox takes what p brings to
// 127.0.0.0/8 or ::1. The caller holds mu.
func (t *udpTable) isInside(p *packet) bool {
	key := [2]netip.AddrPort{p.src, p.dst}
	now := time.Now()
	if until, ok := t.reflected[key]; ok && now.Before(until) {
		return true
	}
	_, ok, err := t.n.diag.Lookup(unix.IPPROTO_UDP, p.dst, p.src)
	if !ok || err != nil {
		delete(t.reflected, key)
		return false
	}
	if len(t.reflected) >= maxSessions {
		clear(t.reflected)
	}
	if _, known := t.reflected[key]; !known {
		t.n.owners.ask("udp", p.src, p.dst)
	}
	t.reflected[key] = now.Add(reflectFor)
	return true
}

// open makes the host's socket for src. The caller holds mu.
func (t *udpTable) open(src netip.AddrPort) (*udpSession, error) {
	if len(t.sessions) >= maxSessions {
		t.evict()
	}
	family, level, recvErr := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
	if src.Addr().Is6() {
		family, level, recvErr = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(fd, level, recvErr, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	f := os.NewFile(uintptr(fd), "udp")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &udpSession{t: t, src: src, f: f, rc: rc, fd: fd, hops: 64, peers: map[netip.AddrPort]netip.AddrPort{}, last: time.Now()}
	s.timer = time.AfterFunc(udpOneWay, s.expire)
	t.sessions[src] = s
	go s.receive()
	return s, nil
}

// evict closes the session that was idle longest. The caller holds mu.
func (t *udpTable) evict() {
	var oldest *udpSession
	var when time.Time
	for _, s := range t.sessions {
		s.mu.Lock()
		last := s.last
		s.mu.Unlock()
		if oldest == nil || last.Before(when) {
			oldest, when = s, last
		}
	}
	if oldest != nil {
		delete(t.sessions, oldest.src)
		oldest.close()
	}
}

// knows reports whether the program has sent to dst through s, which may be nil.
func (s *udpSession) knows(dst netip.AddrPort) bool {
	if s == nil {
		return false
	}
	out := s.t.n.outside(dst)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[out] == dst
}

// send sends a datagram of the program.
func (s *udpSession) send(p *packet, b []byte) {
	if s.t.n.shape.refuse(s.t.n, p, "udp") {
		return
	}
	if !s.delayUp(p) {
		s.sendNow(p, b)
	}
}

func (s *udpSession) sendNow(p *packet, b []byte) {
	out := s.t.n.outside(p.dst)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.last = time.Now()
	if s.peers[out] != p.dst {
		if len(s.peers) >= maxPeers {
			clear(s.peers)
		}
		s.peers[out] = p.dst
		s.t.n.owners.ask("udp", p.src, p.dst)
	}
	if p.hops != s.hops {
		level, opt := unix.IPPROTO_IP, unix.IP_TTL
		if out.Addr().Is6() {
			level, opt = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		}
		unix.SetsockoptInt(s.fd, level, opt, int(p.hops))
		s.hops = p.hops
	}
	var err error
	for range 3 { // an error of an earlier datagram may be reported first
		if err = unix.Sendto(s.fd, b, 0, sockaddr(out)); err == nil || err == unix.EAGAIN || err == unix.ENOBUFS {
			return // sent, or as lost
		}
	}
	switch err {
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES, unix.EPERM:
		s.t.n.sendUnreachable(p, err.(unix.Errno))
	case unix.EMSGSIZE:
		s.t.n.sendTooBig(p, out)
	}
}

// receive passes on what comes for the program.
func (s *udpSession) receive() {
	for {
		var errno error
		err := s.rc.Read(func(fd uintptr) bool {
			buf := datagrams.Get().(*[]byte)
			defer datagrams.Put(buf)
			for {
				errno = s.receiveOne(int(fd), *buf)
				if errno == nil || errno == unix.EINTR {
					continue
				}
				return errno != unix.EAGAIN
			}
		})
		if err != nil {
			return // closed
		}
		// An error that waits in the error queue is reported once here too.
		s.receiveErrors()
	}
}

var datagrams = sync.Pool{New: func() any { b := make([]byte, 64<<10+ipv6HeaderLen+udpHeaderLen); return &b }}

func (s *udpSession) receiveOne(fd int, buf []byte) error {
	h := headersLen(s.src.Addr())
	n, sa, err := unix.Recvfrom(fd, buf[h:], 0)
	if err != nil {
		return err
	}
	from, ok := fromSockaddr(sa)
	if !ok || n > 65535-h {
		return nil
	}
	s.mu.Lock()
	s.last, s.answered = time.Now(), true
	if seen, ok := s.peers[from]; ok {
		from = seen
	}
	s.mu.Unlock()
	s.deliver(putUDP(buf, from, s.src, n))
	return nil
}

// receiveErrors passes on what ICMP told the host about datagrams of the
// program.
func (s *udpSession) receiveErrors() {
	errorQueue(s.rc, func(e extendedError, to netip.AddrPort, payload []byte) {
		s.mu.Lock()
		dst, ok := s.peers[to]
		s.mu.Unlock()
		if !ok {
			dst = to
		}
		s.t.n.passICMPError(e, s.src, dst, payload)
	})
}

// expire closes the session when it has been idle long enough.
func (s *udpSession) expire() {
	s.mu.Lock()
	limit := udpOneWay
	if s.answered {
		limit = udpIdle
	}
	idle := time.Since(s.last)
	if idle < limit {
		s.timer.Reset(limit - idle)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.t.mu.Lock()
	if s.t.sessions[s.src] == s {
		delete(s.t.sessions, s.src)
	}
	s.t.mu.Unlock()
	s.close()
}

func (s *udpSession) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.timer.Stop()
		s.f.Close()
	}
}

func (t *udpTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		s.close()
	}
	clear(t.sessions)
}

// sendFragments writes a packet into the sandbox, in fragments if it is larger
// than the tun's MTU (RFC 791, section 3.2; RFC 8200, section 4.5).
func (n *nat) sendFragments(b []byte) {
	if len(b) <= n.mtu {
		n.tun.send(b)
		return
	}
	id := n.fragmentID.Add(1)
	if b[0]>>4 == 4 {
		h, body := b[:ipv4HeaderLen], b[ipv4HeaderLen:]
		step := (n.mtu - ipv4HeaderLen) &^ 7
		for off := 0; off < len(body); off += step {
			end := min(off+step, len(body))
			f := append(append(make([]byte, 0, n.mtu), h...), body[off:end]...)
			field := uint16(off / 8)
			if end < len(body) {
				field |= 0x2000 // more fragments
			}
			binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
			binary.BigEndian.PutUint16(f[4:], uint16(id))
			binary.BigEndian.PutUint16(f[6:], field)
			f[10], f[11] = 0, 0
			binary.BigEndian.PutUint16(f[10:], checksum(0, f[:ipv4HeaderLen]))
			n.tun.send(f)
		}
		return
	}
	const fragmentHeaderLen = 8
	h, body := b[:ipv6HeaderLen], b[ipv6HeaderLen:]
	step := (n.mtu - ipv6HeaderLen - fragmentHeaderLen) &^ 7
	for off := 0; off < len(body); off += step {
		end := min(off+step, len(body))
		f := append(make([]byte, 0, n.mtu), h...)
		var x [fragmentHeaderLen]byte
		x[0] = h[6]
		field := uint16(off)
		if end < len(body) {
			field |= 1
		}
		binary.BigEndian.PutUint16(x[2:], field)
		binary.BigEndian.PutUint32(x[4:], id)
		f = append(append(f, x[:]...), body[off:end]...)
		f[6] = unix.IPPROTO_FRAGMENT
		binary.BigEndian.PutUint16(f[4:], uint16(len(f)-ipv6HeaderLen))
		n.tun.send(f)
	}
}

func fromSockaddr(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}
