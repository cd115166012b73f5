//go:build linux

package netd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"clipper/sandbox/internal/sockdiag"
	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// ParsePublish reads docker's syntax [ADDR:]HOST:APP[/tcp|/udp]. Without ADDR
// the port is open on every address of the host, as with docker; HOST 0 is a
// free port.
func ParsePublish(s string) (Publish, error) {
	fail := func(why string) (Publish, error) {
		return Publish{}, fmt.Errorf("published port %q: %s; the form is [ADDR:]HOST:APP[/udp], for example 127.0.0.1:8080:80", s, why)
	}
	p := Publish{Transport: "tcp"}
	rest, transport, ok := strings.Cut(s, "/")
	if ok {
		if transport != "tcp" && transport != "udp" {
			return fail("no transport " + strconv.Quote(transport))
		}
		p.Transport = transport
	}
	i := strings.LastIndexByte(rest, ':')
	if i < 0 {
		return fail("it needs two ports")
	}
	app, err := strconv.ParseUint(rest[i+1:], 10, 16)
	if err != nil || app == 0 {
		return fail(strconv.Quote(rest[i+1:]) + " is not a port")
	}
	p.App = uint16(app)
	host := rest[:i]
	addr := netip.IPv6Unspecified() // both families
	if j := strings.LastIndexByte(host, ':'); j >= 0 {
		text := host[:j]
		if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
			text = text[1 : len(text)-1]
		}
		if addr, err = netip.ParseAddr(text); err != nil {
			return fail(strconv.Quote(host[:j]) + " is not an address")
		}
		host = host[j+1:]
	}
	port, err := strconv.ParseUint(host, 10, 16)
	if err != nil {
		return fail(strconv.Quote(host) + " is not a port")
	}
	p.Host = netip.AddrPortFrom(addr, uint16(port)).String()
	return p, nil
}

// listenPublished opens every published port, or none.
func (n *nat) listenPublished(list []Publish) (start func(), closeAll func(), err error) {
	var starts []func()
	var closers []func() error
	closeAll = func() {
		for _, c := range closers {
			c()
		}
	}
	for _, p := range list {
		host := strings.TrimPrefix(p.Host, "[::]") // "" is every address, also where there is no IPv6
		switch p.Transport {
		case "tcp":
			l, err := net.Listen("tcp", host)
			if err != nil {
				closeAll()
				return nil, nil, publishError(p, err)
			}
			closers = append(closers, l.Close)
			starts = append(starts, func() { go n.publishTCP(l.(*net.TCPListener), p.App) })
		case "udp":
			c, err := net.ListenPacket("udp", host)
			if err != nil {
				closeAll()
				return nil, nil, publishError(p, err)
			}
			closers = append(closers, c.Close)
			starts = append(starts, func() { go n.publishUDP(c.(*net.UDPConn), p.App) })
		default:
			closeAll()
			return nil, nil, fmt.Errorf("netd: published port with transport %q", p.Transport)
		}
	}
	return func() {
		for _, f := range starts {
			f()
		}
	}, closeAll, nil
}

func publishError(p Publish, err error) error {
	why := err
	if e, ok := err.(*net.OpError); ok {
		why = e.Err
		if s, ok := why.(*os.SyscallError); ok {
			why = s.Err
		}
	}
	help := ""
	switch {
	case errors.Is(why, unix.EADDRINUSE):
		help = ": choose another port of the host"
	case errors.Is(why, unix.EACCES):
		help = ": choose a port of the host from 1024 on"
	case errors.Is(why, unix.EADDRNOTAVAIL):
		help = ": choose an address that the host has"
	}
	return fmt.Errorf("cannot publish %s %s -> %d: %w%s", p.Transport, p.Host, p.App, why, help)
}

// publishTCP connects into the sandbox for each connection that it accepts.
func (n *nat) publishTCP(l *net.TCPListener, port uint16) {
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			if n.closing() {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors
			continue
		}
		go func() {
			fd, err := takeOver(c)
			if err != nil {
				return
			}
			server := netip.AddrPortFrom(n.serverAddr(unix.IPPROTO_TCP, port), port)
			n.loop.do(func() { n.loop.connectInside(fd, server) })
		}()
	}
}

// serverAddr is the address inside at which a server listens: its own, or, if
// the server is bound to 127.0.0.1 or ::1 only, that one.
func (n *nat) serverAddr(transport byte, port uint16) netip.Addr {
	if n.diag == nil {
		return subnet.App4.Addr()
	}
	bound := func(a netip.Addr) bool {
		s, ok, err := n.diag.Lookup(transport, netip.AddrPortFrom(a, port), netip.AddrPortFrom(gatewayTo(a), 0))
		return ok && err == nil && (transport != unix.IPPROTO_TCP || s.State == sockdiag.Listen)
	}
	switch {
	case bound(subnet.App4.Addr()):
	case bound(subnet.Local4):
		return subnet.Local4
	case transport == unix.IPPROTO_TCP && n.tun.lo != 0 && bound(subnet.Local6):
		return subnet.Local6
	}
	return subnet.App4.Addr()
}

// gatewayTo is where a server inside sees the connections of a published port come
// from. Without IPv6 to the outside there is no way back from ::1 but to itself.
func gatewayTo(server netip.Addr) netip.Addr {
	if server.Is6() {
		return subnet.Local6
	}
	return subnet.Gateway4
}

// publishUDP gives each client a port of the gateway, seen from inside.
func (n *nat) publishUDP(c *net.UDPConn, port uint16) {
	t := &udpClients{n: n, c: c, byAddr: map[netip.AddrPort]*udpClient{}}
	buf := make([]byte, 64<<10+ipv6HeaderLen+udpHeaderLen)
	h := headersLen(subnet.Gateway4)
	for {
		k, from, err := c.ReadFromUDPAddrPort(buf[h:])
		if err != nil {
			if n.closing() {
				return
			}
			continue
		}
		gateway, ok := t.port(from)
		if !ok || k > 65535-h || n.shape.offline() {
			continue
		}
		dst := netip.AddrPortFrom(n.serverAddr(unix.IPPROTO_UDP, port), port)
		n.sendFragments(putUDP(buf, netip.AddrPortFrom(subnet.Gateway4, gateway), dst, k))
	}
}

// udpClients are the clients of a published UDP port.
type udpClients struct {
	n *nat
	c *net.UDPConn

	mu     sync.Mutex
	byAddr map[netip.AddrPort]*udpClient
}

type udpClient struct {
	port uint16
	last time.Time
}

const maxUDPClients = 4096

// port is the gateway's port that stands for a client.
func (t *udpClients) port(client netip.AddrPort) (uint16, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if c := t.byAddr[client]; c != nil {
		c.last = now
		return c.port, true
	}
	if len(t.byAddr) >= maxUDPClients {
		t.expire(now)
	}
	if len(t.byAddr) >= maxUDPClients {
		return 0, false
	}
	port, ok := t.n.udp.allocate(client.Port(), func(b []byte) {
		t.mu.Lock()
		if c := t.byAddr[client]; c != nil {
			c.last = time.Now()
		}
		t.mu.Unlock()
		t.c.WriteToUDPAddrPort(b, client)
	})
	if ok {
		t.byAddr[client] = &udpClient{port: port, last: now}
	}
	return port, ok
}

func (t *udpClients) expire(now time.Time) {
	for a, c := range t.byAddr {
		if now.Sub(c.last) > udpIdle {
			t.n.udp.release(c.port)
			delete(t.byAddr, a)
		}
	}
}

// allocate takes a port of the gateway, preferably the given one.
func (t *udpTable) allocate(prefer uint16, deliver func([]byte)) (uint16, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	port := max(prefer, 1024)
	for range 65535 - 1024 {
		if _, taken := t.published[port]; !taken {
			t.published[port] = deliver
			return port, true
		}
		if port++; port < 1024 {
			port = 1024
		}
	}
	return 0, false
}

func (t *udpTable) release(port uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.published, port)
}
