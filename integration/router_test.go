package integration

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// unreachable answers every packet that the machine routes to a prefix with an
// ICMP error (RFC 792, RFC 4443) from the address from; typ 0 is no answer. The
// kernel's own routes of this kind would do so once a second only.
type unreachable struct {
	to, from  string
	typ, code byte
}

// router makes a device of the machine behind which these prefixes are.
func (m *machine) router(all ...unreachable) {
	m.t.Helper()
	fd := -1
	var err error
	m.do(func() {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		ifr, _ := unix.NewIfreq("far")
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	if err != nil {
		m.t.Fatalf("tun: %v", err)
	}
	dev := os.NewFile(uintptr(fd), "far")
	m.t.Cleanup(func() { dev.Close() })
	m.ip("link set far up")
	for _, u := range all {
		m.ip("route add " + u.to + " dev far")
	}
	go func() {
		b := make([]byte, 65536)
		for {
			n, err := dev.Read(b)
			if err != nil {
				return
			}
			for _, u := range all {
				if a := u.answer(b[:n]); a != nil {
					dev.Write(a)
				}
			}
		}
	}()
}

// answer is the packet that answers p, nil if there is none.
func (u unreachable) answer(p []byte) []byte {
	to, from := netip.MustParsePrefix(u.to), netip.MustParseAddr(u.from)
	switch {
	case u.typ == 0:
	case p[0]>>4 == 4 && len(p) >= 20 && to.Contains(netip.AddrFrom4([4]byte(p[16:20]))):
		quote := p[:min(len(p), 520)]
		a := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_ICMP, 0, 0}, from.AsSlice()...)
		a = append(append(a, p[12:16]...), u.typ, u.code, 0, 0, 0, 0, 0, 0)
		a = append(a, quote...)
		binary.BigEndian.PutUint16(a[2:], uint16(len(a)))
		binary.BigEndian.PutUint16(a[10:], sum(a[:20]))
		binary.BigEndian.PutUint16(a[22:], sum(a[20:]))
		return a
	case p[0]>>4 == 6 && len(p) >= 40 && to.Contains(netip.AddrFrom16([16]byte(p[24:40]))):
		body := append([]byte{u.typ, u.code, 0, 0, 0, 0, 0, 0}, p[:min(len(p), 1000)]...)
		addrs := append(from.AsSlice(), p[8:24]...)
		pseudo := append(append([]byte(nil), addrs...), 0, 0, byte(len(body)>>8), byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6)
		binary.BigEndian.PutUint16(body[2:], sum(append(pseudo, body...)))
		a := append([]byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), unix.IPPROTO_ICMPV6, 64}, addrs...)
		return append(a, body...)
	}
	return nil
}

// sum is the Internet checksum (RFC 1071).
func sum(b []byte) uint16 {
	var s uint32
	for i, x := range b {
		s += uint32(x) << (8 * (1 - i%2))
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
