//go:build linux

package netd

import (
	"net/netip"
	"sync/atomic"

	"clipper/sandbox/internal/sockdiag"
	"clipper/sandbox/internal/subnet"
	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

// nat turns the flows of a sandbox into sockets of the host. TCP ends here, at
// the loop; UDP and ICMP echo pass through without a state machine.
type nat struct {
	tun       *tun
	loop      *loop
	diag      *sockdiag.Conn // nil without
	resolvers *resolvers
	owners    *owners
	udp       *udpTable
	echo      *echoTable
	shape     *shaper
	fragments fragments
	shortage  shortage
	mtu       int

	conditionsKnown <-chan struct{}

	fragmentID     atomic.Uint32
	ended          atomic.Bool
	closePublished func()
}

func newNAT(o Options, t *tun, r *resolvers) (n *nat, err error) {
	n = &nat{tun: t, resolvers: r, mtu: o.MTU, shape: newShaper()}
	if o.DiagFD != 0 {
		n.diag = sockdiag.New(o.DiagFD)
	}
	n.udp = newUDPTable(n)
	n.echo = newEchoTable(n)
	if n.loop, err = newLoop(n); err != nil {
		return nil, err
	}
	n.shape.changed = n.loop.reshape
	return n, nil
}

// take consumes a packet from the sandbox; vnet is its virtio header.
func (n *nat) take(p *packet, vnet []byte) {
	switch p.transport {
	case unix.IPPROTO_TCP:
		n.takeTCP(p, vnet)
	case unix.IPPROTO_UDP:
		n.udp.fromSandbox(p, vnet)
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		n.takeICMP(p, vnet)
	default:
		if whole := n.fragments.add(p.b, n.loop.now); whole != nil {
			if p, ok := parsePacket(whole); ok && p.transport == unix.IPPROTO_UDP {
				n.udp.fromSandbox(&p, make([]byte, vnetHeaderLen))
			}
		}
	}
}

// takeTCP hands a segment to its connection, or reflects what belongs to servers
// inside.
func (n *nat) takeTCP(p *packet, vnet []byte) {
	s, ok := tcp.Parse(p.body())
	if !ok {
		return
	}
	if f := n.loop.flows[flowKey{p.src, p.dst}]; f != nil {
		f.onPacket(&s)
		return
	}
	opens := s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN
	if opens {
		n.owners.ask("tcp", p.src, p.dst)
	}
	switch {
	case n.diag != nil && p.dst.Addr().IsLoopback() && (!opens || n.listensInside(p)):
		n.tun.reflect(vnet, p.b)
	case opens && n.shape.refuse(n, p, "tcp"):
	case opens:
		n.loop.open(p, &s)
	default:
		n.loop.reject(p, &s)
	}
}

// listensInside reports whether a program of the sandbox takes the connection
// that p asks for.
func (n *nat) listensInside(p *packet) bool {
	s, ok, err := n.diag.Lookup(unix.IPPROTO_TCP, p.dst, p.src)
	return ok && err == nil && s.State == sockdiag.Listen
}

// outside is where a destination, as seen from inside, lies on the host.
func (n *nat) outside(dst netip.AddrPort) netip.AddrPort {
	switch a := dst.Addr(); {
	case a == subnet.Gateway4:
		return netip.AddrPortFrom(subnet.Local4, dst.Port())
	case a == subnet.Gateway6:
		return netip.AddrPortFrom(subnet.Local6, dst.Port())
	default:
		if dst.Port() == dnsPort {
			if r, ok := n.resolvers.at(a); ok {
				return r
			}
		}
		return dst
	}
}
