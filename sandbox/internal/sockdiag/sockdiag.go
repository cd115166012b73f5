//go:build linux

// Package sockdiag asks about the sockets of a network namespace by
// sock_diag(7), over a descriptor that was opened inside it.
package sockdiag

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Conn is a NETLINK_SOCK_DIAG socket. Its methods may be called by several
// goroutines.
type Conn struct {
	mu  sync.Mutex
	fd  int
	seq uint32
	buf []byte
}

// New uses the descriptor, which stays the caller's.
func New(fd int) *Conn { return &Conn{fd: fd, buf: make([]byte, 32<<10)} }

// Socket is what the kernel says of a socket.
type Socket struct {
	State  uint8 // TCP_*, see tcp_states.h; 7 (TCP_CLOSE) for an unconnected UDP socket
	Local  netip.AddrPort
	Remote netip.AddrPort
	UID    uint32
	Inode  uint32
	Unsent uint32 // bytes sent and not acknowledged, or still to send
}

// States of TCP sockets.
const (
	finWait1 = 4
	lastAck  = 9
	Listen   = 10
	closing  = 11
)

var native = binary.NativeEndian

const (
	requestLen = unix.NLMSG_HDRLEN + 56 // struct inet_diag_req_v2
	messageLen = 72                     // struct inet_diag_msg
)

// request builds a request for sockets of transport (unix.IPPROTO_TCP or _UDP).
func (c *Conn) request(family, transport byte, flags uint16, states uint32, src, dst netip.AddrPort) []byte {
	c.seq++
	m := make([]byte, requestLen)
	native.PutUint32(m[0:], requestLen)
	native.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	native.PutUint32(m[8:], c.seq)
	r := m[unix.NLMSG_HDRLEN:]
	r[0], r[1] = family, transport
	native.PutUint32(r[4:], states)
	binary.BigEndian.PutUint16(r[8:], src.Port())
	binary.BigEndian.PutUint16(r[10:], dst.Port())
	if src.Addr().IsValid() {
		copy(r[12:28], src.Addr().AsSlice())
	}
	if dst.Addr().IsValid() {
		copy(r[28:44], dst.Addr().AsSlice())
	}
	native.PutUint32(r[48:], ^uint32(0)) // no cookie
	native.PutUint32(r[52:], ^uint32(0))
	return m
}

// Lookup finds the socket that a packet from remote to local would reach, as
// the kernel does: a connection, else a listener or an unconnected socket, bound
// to the address or to any.
func (c *Conn) Lookup(transport byte, local, remote netip.AddrPort) (s Socket, ok bool, err error) {
	family := byte(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	src, dst := local, remote
	if transport == unix.IPPROTO_UDP {
		// udp_dump_one takes the two ends the other way round than
		// inet_diag_find_one_icsk does.
		src, dst = remote, local
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.do(c.request(family, transport, 0, ^uint32(0), src, dst), func(x Socket) { s, ok = x, true })
	if err == unix.ENOENT {
		err = nil
	}
	return s, ok, err
}

// Listeners calls f for each listening TCP socket of a family.
func (c *Conn) Listeners(family byte, f func(Socket)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.do(c.request(family, unix.IPPROTO_TCP, unix.NLM_F_DUMP, 1<<Listen, netip.AddrPort{}, netip.AddrPort{}), f)
}

// Closing calls f for each TCP socket of a family that was closed and whose FIN
// has not been acknowledged.
func (c *Conn) Closing(family byte, f func(Socket)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.do(c.request(family, unix.IPPROTO_TCP, unix.NLM_F_DUMP, 1<<finWait1|1<<lastAck|1<<closing, netip.AddrPort{}, netip.AddrPort{}), f)
}

// Bound calls f for each UDP socket of a family.
func (c *Conn) Bound(family byte, f func(Socket)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.do(c.request(family, unix.IPPROTO_UDP, unix.NLM_F_DUMP, ^uint32(0), netip.AddrPort{}, netip.AddrPort{}), f)
}

func (c *Conn) do(m []byte, f func(Socket)) error {
	dump := native.Uint16(m[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	if err := unix.Sendto(c.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sock_diag: %w", os.NewSyscallError("sendto", err))
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("sock_diag: %w", os.NewSyscallError("recvfrom", err))
		}
		done, err := parse(c.buf[:n], c.seq, f)
		if done || err != nil || !dump {
			return err
		}
	}
}

// parse reads the messages of one datagram.
func parse(b []byte, seq uint32, f func(Socket)) (done bool, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(native.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return true, fmt.Errorf("sock_diag: message of %d bytes in %d", n, len(b))
		}
		body := b[unix.NLMSG_HDRLEN:n]
		if native.Uint32(b[8:]) == seq {
			switch native.Uint16(b[4:]) {
			case unix.NLMSG_DONE:
				return true, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return true, fmt.Errorf("sock_diag: error of %d bytes", len(body))
				}
				if errno := int32(native.Uint32(body)); errno != 0 {
					return true, unix.Errno(-errno)
				}
			case unix.SOCK_DIAG_BY_FAMILY:
				if len(body) >= messageLen {
					f(socket(body))
				}
			}
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return false, nil
}

// socket reads a struct inet_diag_msg.
func socket(b []byte) Socket {
	addr := func(b []byte) netip.Addr {
		if b == nil {
			return netip.Addr{}
		}
		return netip.AddrFrom16([16]byte(b))
	}
	src, dst := addr(b[8:24]), addr(b[24:40])
	if b[0] == unix.AF_INET {
		src, dst = netip.AddrFrom4([4]byte(b[8:12])), netip.AddrFrom4([4]byte(b[24:28]))
	}
	return Socket{
		State:  b[1],
		Local:  netip.AddrPortFrom(src, binary.BigEndian.Uint16(b[4:])),
		Remote: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[6:])),
		UID:    native.Uint32(b[64:]),
		Inode:  native.Uint32(b[68:]),
		Unsent: native.Uint32(b[60:]),
	}
}
