package lookup

import (
	"fmt"
	"net/netip"
	"testing"

	"clipper/bus"
)

const ms = int64(1e6)

func answered(name, kind string, asked, at int64, addrs ...string) *bus.DNS {
	d := &bus.DNS{Name: name, Type: kind, Asked: asked * ms, Answered: at * ms}
	for _, a := range addrs {
		d.Addresses = append(d.Addresses, netip.MustParseAddr(a))
	}
	return d
}

func to(server string, opened int64, sni string) *bus.Connection {
	c := &bus.Connection{Flow: bus.Flow{Server: netip.MustParseAddrPort(server)}, Opened: opened * ms}
	if sni != "" {
		c.TLS = &bus.TLSInfo{SNI: sni}
	}
	return c
}

func TestFind(t *testing.T) {
	var n Names
	for _, d := range []*bus.DNS{
		answered("a.test", "A", 10, 30, "192.0.2.1"),
		answered("a.test", "AAAA", 11, 20, "2001:db8::1"),
		answered("slow.test", "A", 10, 12, "192.0.2.2"),
		answered("slow.test", "AAAA", 10, 500, "2001:db8::2"),
		answered("cdn.test", "A", 40, 41, "192.0.2.1"),
		answered("mx.test", "MX", 40, 41),
	} {
		n.Add(d)
	}
	for _, c := range []struct {
		conn *bus.Connection
		want string
	}{
		{to("192.0.2.1:80", 35, ""), "a.test 10-30 own 2"},
		{to("192.0.2.1:80", 36, ""), "a.test 10-30 2"},
		{to("192.0.2.1:81", 36, ""), "a.test 10-30 own 2"},
		{to("192.0.2.1:443", 50, ""), "cdn.test 40-41 own 1"},
		{to("192.0.2.1:443", 50, "a.test"), "a.test 10-30 own 2"},
		{to("[::ffff:192.0.2.2]:80", 100, ""), "slow.test 10-12 own 1"},
		{to("[2001:db8::2]:80", 100, ""), ""},
		{to("[2001:db8::2]:80", 9000, ""), "slow.test 10-500 2"},
		{to("192.0.2.9:80", 100, ""), ""},
	} {
		got := ""
		if l := n.Find(c.conn); l != nil {
			own := ""
			if l.Own {
				own = "own "
			}
			got = fmt.Sprintf("%s %d-%d %s%d", l.Name, l.Asked/ms, l.Answered/ms, own, len(l.Queries))
		}
		if got != c.want && !(c.want == "a.test 10-30 own 2" && got == "a.test 10-30 own 2") {
			t.Errorf("%v at %d: %q, want %q", c.conn.Server, c.conn.Opened/ms, got, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	var n Names
	for i := range 3 * MaxNames {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		n.Add(answered(fmt.Sprint("n", i), "A", 1, 2, a.String()))
		n.Add(answered("same", "A", 1, 2, a.String()))
	}
	if len(n.names) > MaxNames || len(n.order) > MaxNames || len(n.addrs) > MaxNames+maxRecent {
		t.Errorf("%d names, %d addresses", len(n.names), len(n.addrs))
	}
}
