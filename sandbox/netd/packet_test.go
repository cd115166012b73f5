//go:build linux

package netd

import (
	"bytes"
	"net/netip"
	"testing"

	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

var (
	a4 = netip.MustParseAddrPort("10.0.2.100:40000")
	b4 = netip.MustParseAddrPort("192.0.2.1:443")
	a6 = netip.MustParseAddrPort("[fd00:c11b::100]:40000")
	b6 = netip.MustParseAddrPort("[2001:db8::1]:443")
)

func udpPacket(src, dst netip.AddrPort, payload string) []byte {
	h := headersLen(src.Addr())
	b := make([]byte, h+len(payload))
	copy(b[h:], payload)
	return putUDP(b, src, dst, len(payload))
}

func TestPutUDP(t *testing.T) {
	for _, c := range [][2]netip.AddrPort{{a4, b4}, {a6, b6}} {
		for _, payload := range []string{"", "x", "hello", "eight..."} {
			b := udpPacket(c[0], c[1], payload)
			p, ok := parsePacket(b)
			if !ok || p.src != c[0] || p.dst != c[1] || p.transport != unix.IPPROTO_UDP {
				t.Fatalf("%v %q: %+v, %v", c, payload, p, ok)
			}
			if got, ok := p.datagram(); !ok || string(got) != payload {
				t.Errorf("%v: payload %q, want %q", c, got, payload)
			}
			// A right checksum makes the sum of everything 0.
			if s := checksum(pseudo(c[0].Addr(), c[1].Addr(), unix.IPPROTO_UDP, len(p.body())), p.body()); s != 0 {
				t.Errorf("%v %q: UDP checksum off by %#x", c, payload, s)
			}
			if c[0].Addr().Is4() {
				if s := checksum(0, b[:ipv4HeaderLen]); s != 0 {
					t.Errorf("%v: header checksum off by %#x", c, s)
				}
			}
		}
	}
}

// RFC 1071, section 3: the example.
func TestChecksum(t *testing.T) {
	if got := checksum(0, []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("%#04x, want %#04x", got, ^uint16(0xddf2))
	}
	if got, want := checksum(0, bytes.Repeat([]byte{0xff}, 65535)), checksum(0, []byte{0xff, 0x00}); got != want {
		t.Errorf("%#04x, want %#04x", got, want)
	}
}

func TestParsePrefixes(t *testing.T) {
	for _, b := range [][]byte{udpPacket(a4, b4, "hello"), udpPacket(a6, b6, "hello")} {
		for n := range b {
			if _, ok := parsePacket(b[:n:n]); ok {
				t.Errorf("%d of %d bytes were taken for a packet", n, len(b))
			}
		}
		if _, ok := parsePacket(b); !ok {
			t.Error("the whole packet was not")
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add(udpPacket(a4, b4, "hello"))
	f.Add(udpPacket(a6, b6, "hello"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePacket(b)
		if !ok {
			return
		}
		p.datagram()
		if q, ok := parsePacket(padQuote(p.b[:min(len(p.b), p.header+tcp.HeaderLen)])); ok && q.src.Addr() != p.src.Addr() {
			t.Errorf("quoted source %v, was %v", q.src, p.src)
		}
	})
}

func FuzzExtendedError(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { parseExtendedError(b) })
}
