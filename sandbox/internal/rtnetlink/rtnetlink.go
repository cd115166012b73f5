//go:build linux

// Package rtnetlink speaks the few messages of rtnetlink(7) that set up the
// network of a sandbox.
package rtnetlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Conn is a NETLINK_ROUTE socket of the current network namespace.
type Conn struct {
	fd  int
	seq uint32
}

// Dial opens a Conn.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("rtnetlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind the rtnetlink socket: %w", err)
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// do sends one request and waits for its acknowledgement.
func (c *Conn) do(typ, flags uint16, body []byte) error {
	c.seq++
	m := native.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	m = native.AppendUint16(m, typ)
	m = native.AppendUint16(m, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	m = native.AppendUint32(m, c.seq)
	m = native.AppendUint32(m, 0)
	m = append(m, body...)
	if err := unix.Sendto(c.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	buf := make([]byte, 8192)
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if n < unix.NLMSG_HDRLEN+4 || native.Uint16(buf[4:]) != unix.NLMSG_ERROR || native.Uint32(buf[8:]) != c.seq {
			continue
		}
		if errno := int32(native.Uint32(buf[unix.NLMSG_HDRLEN:])); errno != 0 {
			return unix.Errno(-errno)
		}
		return nil
	}
}

func attr(b []byte, typ uint16, data []byte) []byte {
	b = native.AppendUint16(b, uint16(unix.SizeofRtAttr+len(data)))
	b = native.AppendUint16(b, typ)
	b = append(b, data...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func u32(v uint32) []byte { return native.AppendUint32(nil, v) }

// LinkUp brings an interface up. mtu and txQueue (packets) are left alone if 0.
func (c *Conn) LinkUp(index int, mtu, txQueue uint32) error {
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], unix.IFF_UP)
	native.PutUint32(b[12:], unix.IFF_UP)
	if mtu != 0 {
		b = attr(b, unix.IFLA_MTU, u32(mtu))
	}
	if txQueue != 0 {
		b = attr(b, unix.IFLA_TXQLEN, u32(txQueue))
	}
	if err := c.do(unix.RTM_NEWLINK, 0, b); err != nil {
		return fmt.Errorf("bring up interface %d: %w", index, err)
	}
	return nil
}

// Indices of IPV4_DEVCONF_* (linux/ip.h).
const (
	ConfForwarding    = 1
	ConfRPFilter      = 8
	ConfAcceptLocal   = 24
	ConfRouteLocalnet = 26
)

const iflaInetConf = 1 // IFLA_INET_CONF (linux/if_link.h)

// SetConf4 sets net.ipv4.conf of one interface, also where /proc/sys is
// mounted read-only, as in containers.
func (c *Conn) SetConf4(index int, values map[uint16]uint32) error {
	var conf []byte
	for i := uint16(1); i < 64; i++ {
		if v, ok := values[i]; ok {
			conf = attr(conf, i, u32(v))
		}
	}
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	b = attr(b, unix.IFLA_AF_SPEC, attr(nil, unix.AF_INET, attr(nil, iflaInetConf, conf)))
	if err := c.do(unix.RTM_NEWLINK, 0, b); err != nil {
		return fmt.Errorf("configure IPv4 on interface %d: %w", index, err)
	}
	return nil
}

func family(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// AddAddr gives an interface an address, usable at once.
func (c *Conn) AddAddr(index int, p netip.Prefix) error {
	b := []byte{family(p.Addr()), byte(p.Bits()), 0, 0, 0, 0, 0, 0}
	native.PutUint32(b[4:], uint32(index))
	if p.Addr().Is4() {
		b = attr(b, unix.IFA_LOCAL, p.Addr().AsSlice())
	} else {
		b[2] = unix.IFA_F_NODAD
	}
	b = attr(b, unix.IFA_ADDRESS, p.Addr().AsSlice())
	if err := c.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b); err != nil {
		return fmt.Errorf("add address %v: %w", p, err)
	}
	return nil
}

// Route is a unicast route through an interface.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr // invalid: on link
	Source  netip.Addr // preferred source; invalid: the kernel's choice
	Index   int        // interface
	Nexthop uint32     // id of SetNexthop, in place of Gateway and Index; 0: none
	Table   uint8      // 0: main
}

// AddRoute adds a route.
func (c *Conn) AddRoute(r Route) error {
	table, scope := byte(unix.RT_TABLE_MAIN), byte(unix.RT_SCOPE_UNIVERSE)
	if r.Table != 0 {
		table = r.Table
	}
	if !r.Gateway.IsValid() {
		scope = unix.RT_SCOPE_LINK
	}
	b := []byte{family(r.Dst.Addr()), byte(r.Dst.Bits()), 0, 0, table, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST, 0, 0, 0, 0}
	if r.Dst.Bits() > 0 {
		b = attr(b, unix.RTA_DST, r.Dst.Addr().AsSlice())
	}
	if r.Gateway.IsValid() {
		b = attr(b, unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	if r.Source.IsValid() {
		b = attr(b, unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	const rtaNhID = 30 // RTA_NH_ID (linux/rtnetlink.h)
	if r.Nexthop != 0 {
		b = attr(b, rtaNhID, u32(r.Nexthop))
	} else {
		b = attr(b, unix.RTA_OIF, u32(uint32(r.Index)))
	}
	if err := c.do(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, b); err != nil {
		return fmt.Errorf("add route to %v: %w", r.Dst, err)
	}
	return nil
}

// SetNexthop makes an interface, on link, the IPv6 nexthop of an id (Linux 5.3),
// for the routes that name it already, too.
func (c *Conn) SetNexthop(id uint32, index int) error {
	b := []byte{unix.AF_INET6, 0, unix.RTPROT_STATIC, 0, 0, 0, 0, 0} // struct nhmsg
	b = attr(b, unix.NHA_ID, u32(id))
	b = attr(b, unix.NHA_OIF, u32(uint32(index)))
	if err := c.do(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, b); err != nil {
		return fmt.Errorf("nexthop %d: %w", id, err)
	}
	return nil
}

// Rule is a rule of policy routing.
type Rule struct {
	Priority uint32
	IIF      string       // incoming interface; "lo" stands for what is sent here
	Dst      netip.Prefix // invalid: any
	Mark     uint32       // of the packet (SO_MARK); 0: any
	Table    uint8
	IPv6     bool // family when Dst is invalid
}

// AddRule adds a rule.
func (c *Conn) AddRule(r Rule) error {
	return c.rule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r)
}

// DeleteRule deletes the rule that agrees with r.
func (c *Conn) DeleteRule(r Rule) error { return c.rule(unix.RTM_DELRULE, 0, r) }

func (c *Conn) rule(typ, flags uint16, r Rule) error {
	const toTable = 1     // FR_ACT_TO_TBL (linux/fib_rules.h)
	b := make([]byte, 12) // struct fib_rule_hdr
	b[0], b[4], b[7] = unix.AF_INET, r.Table, toTable
	if r.IPv6 || r.Dst.IsValid() && !r.Dst.Addr().Is4() {
		b[0] = unix.AF_INET6
	}
	const fraDst, fraIIFName, fraPriority, fraMark = 1, 3, 6, 10
	if r.Dst.IsValid() {
		b[1] = byte(r.Dst.Bits())
		b = attr(b, fraDst, r.Dst.Addr().AsSlice())
	}
	if r.IIF != "" {
		b = attr(b, fraIIFName, append([]byte(r.IIF), 0))
	}
	b = attr(b, fraPriority, u32(r.Priority))
	if r.Mark != 0 {
		b = attr(b, fraMark, u32(r.Mark))
	}
	if err := c.do(typ, flags, b); err != nil {
		return fmt.Errorf("routing rule %d: %w", r.Priority, err)
	}
	return nil
}
