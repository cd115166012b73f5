//go:build linux

package sockdiag

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) *Conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return New(fd)
}

func TestLookup(t *testing.T) {
	c := open(t)
	from := netip.MustParseAddrPort("127.0.0.1:9")
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(from.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
		s, ok, err := c.Lookup(unix.IPPROTO_TCP, at, from)
		if err != nil || !ok || s.State != Listen || s.Inode == 0 {
			t.Errorf("%s: %+v, %v, %v", listen, s, ok, err)
		}
		found := false
		for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
			if err := c.Listeners(family, func(x Socket) { found = found || x.Inode == s.Inode }); err != nil {
				t.Error(err)
			}
		}
		if !found {
			t.Errorf("%s is not among the listeners", listen)
		}
		l.Close()
		if _, ok, err := c.Lookup(unix.IPPROTO_TCP, at, from); ok || err != nil {
			t.Errorf("%s, closed: %v, %v", listen, ok, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok, _ := c.Lookup(unix.IPPROTO_TCP, netip.AddrPortFrom(from.Addr(), uint16(l.Addr().(*net.TCPAddr).Port)), from); ok {
		t.Error("a server at 127.0.0.2 was found at 127.0.0.1")
	}
}

func TestLookupConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	s, ok, err := open(t).Lookup(unix.IPPROTO_TCP, local, remote)
	if err != nil || !ok || s.Local != local || s.Remote != remote {
		t.Errorf("%+v, %v, %v", s, ok, err)
	}
}

func TestLookupUDP(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		p, err := net.ListenPacket("udp", listen)
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(p.LocalAddr().(*net.UDPAddr).Port))
		s, ok, err := open(t).Lookup(unix.IPPROTO_UDP, at, netip.MustParseAddrPort("127.0.0.1:9"))
		if err != nil || !ok || s.Inode == 0 {
			t.Errorf("%s: %+v, %v, %v", listen, s, ok, err)
		}
		p.Close()
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{}, uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) { parse(b, seq, func(Socket) {}) })
}
