//go:build linux

package netd

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"clipper/sandbox/internal/sockdiag"
	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nat turns the flows of a sandbox into sockets of the host. TCP is terminated
// by gVisor; UDP and ICMP echo pass through without a state machine.
type nat struct {
	stack     *stack.Stack
	tun       *tun
	diag      *sockdiag.Conn // nil without
	resolvers *resolvers
	owners    *owners
	udp       *udpTable
	echo      *echoTable
	syns      synTable
	uploads   uploads
	shape     *shaper
	mtu       int

	fragmentID     atomic.Uint32
	ended          atomic.Bool
	closePublished func()
}

const nic = 1

func newNAT(o Options, t *tun, r *resolvers) (*nat, error) {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			// What programs send to 127.0.0.0/8 arrives here too.
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
			ipv6.NewProtocol,
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	n := &nat{stack: s, tun: t, resolvers: r, mtu: o.MTU, shape: newShaper()}
	if o.DiagFD != 0 {
		n.diag = sockdiag.New(o.DiagFD)
	}
	n.udp = newUDPTable(n)
	n.echo = newEchoTable(n)

	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: 1 << 20, Max: 8 << 20}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 1, Default: 1 << 20, Max: 8 << 20}
	for _, opt := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			return nil, fmt.Errorf("netd: option %T: %v", opt, err)
		}
	}
	if err := s.CreateNIC(nic, t); err != nil {
		return nil, fmt.Errorf("netd: network interface: %v", err)
	}
	s.SetPromiscuousMode(nic, true) // every destination is ours
	s.SetSpoofing(nic, true)        // and answers
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	const inFlight = 16384 // connections being made; a SYN beyond is sent again by its sender
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, inFlight, n.acceptTCP).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, n.reassembledUDP)
	t.take = n.take
	return n, nil
}

// take decides about a packet from the sandbox; what it does not consume goes
// to gVisor.
func (n *nat) take(p *packet, vnet []byte) bool {
	switch p.transport {
	case unix.IPPROTO_TCP:
		return n.takeTCP(p, vnet)
	case unix.IPPROTO_UDP:
		n.udp.fromSandbox(p, vnet)
		return true
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		n.takeICMP(p, vnet)
		return true
	}
	return false
}

// takeTCP reflects what belongs to servers inside.
func (n *nat) takeTCP(p *packet, vnet []byte) bool {
	opens := p.opensTCP()
	if subnet.Loopback4.Contains(p.dst.Addr()) && n.diag != nil {
		reflect := false
		if opens {
			s, ok, err := n.diag.Lookup(unix.IPPROTO_TCP, p.dst, p.src)
			reflect = ok && err == nil && s.State == sockdiag.Listen
		} else {
			reflect = n.stack.FindTransportEndpoint(header.IPv4ProtocolNumber, tcp.ProtocolNumber, endpointID(p), nic) == nil
		}
		if reflect {
			n.tun.reflect(vnet, p.b)
			if opens {
				n.owners.ask("tcp", p.src, p.dst)
			}
			return true
		}
	}
	if opens {
		if n.shape.refuse(n, p, "tcp") {
			return true
		}
		n.syns.remember(p)
		n.owners.ask("tcp", p.src, p.dst)
	}
	return false
}

func endpointID(p *packet) stack.TransportEndpointID {
	return stack.TransportEndpointID{
		LocalPort: p.dst.Port(), LocalAddress: fromAddr(p.dst.Addr()),
		RemotePort: p.src.Port(), RemoteAddress: fromAddr(p.src.Addr()),
	}
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

// synTable keeps the packets that ask for connections which the host is still
// making, for the ICMP message that refuses one.
type synTable struct {
	mu sync.Mutex
	m  map[stack.TransportEndpointID][]byte
}

const maxSYNs = 16384

func (t *synTable) remember(p *packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[stack.TransportEndpointID][]byte{}
	}
	if len(t.m) >= maxSYNs {
		clear(t.m) // forgotten ones are refused with RST
	}
	t.m[endpointID(p)] = append([]byte(nil), p.b[:p.header+tcpHeaderLen]...)
}

func (t *synTable) forget(id stack.TransportEndpointID) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.m[id]
	delete(t.m, id)
	return b
}
