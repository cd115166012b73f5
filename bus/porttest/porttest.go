//go:build linux

// Package porttest gives tests the ports of servers that others start: a program
// that is told its port, or Clipper that publishes one. A port that was merely
// found free may be taken before the server comes, by any client's connection on
// the machine or by another test.
package porttest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// TCP is a port of ip that is kept until the test ends: it is bound, so nobody is
// given it, and nobody listens. A server that is told of it can listen there
// nevertheless, since both sides set SO_REUSEADDR (socket(7)), as servers do.
func TCP(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	at, err := keep(t, netip.AddrPortFrom(netip.MustParseAddr(ip), 0), true)
	if err != nil {
		t.Fatalf("keep a port of %s: %v", ip, err)
	}
	return at
}

// UDP is a port of 127.0.0.1 that no other test is given, and none of those that
// clients are. The kernel has no way to keep it for a server.
func UDP(t testing.TB) netip.AddrPort {
	t.Helper()
	for range 1000 {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20_000+rand.IntN(12_000)))
		c, err := net.ListenPacket("udp", at.String())
		if err != nil {
			continue
		}
		c.Close()
		// The TCP port of the same number tells the other tests.
		if _, err := keep(t, at, false); err == nil {
			return at
		}
	}
	t.Fatal("no UDP port is free")
	panic("unreachable")
}

// keep binds a TCP socket, which does not listen, until the test ends.
func keep(t testing.TB, at netip.AddrPort, share bool) (netip.AddrPort, error) {
	family, addr := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())})
	if at.Addr().Is4() {
		family, addr = syscall.AF_INET, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return at, err
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if share {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
			return at, err
		}
	}
	if err := syscall.Bind(fd, addr); err != nil {
		return at, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return at, err
	}
	port := 0
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		port = name.Port
	case *syscall.SockaddrInet6:
		port = name.Port
	}
	return netip.AddrPortFrom(at.Addr(), uint16(port)), nil
}

// Await returns when a server listens at addr; a minute is never.
func Await(t testing.TB, addr string) {
	t.Helper()
	var err error
	for range 6000 {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no server at %s: %v", addr, err)
}
