//go:build linux

package sandbox

import (
	"fmt"
	"os"

	"clipper/sandbox/internal/rtnetlink"
	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// txQueue is the tun's queue in packets. What netd does not read waits there,
// bounded by the send buffers and TCP windows of the programs; a packet that
// finds it full would be lost.
const txQueue = 20000

// openTun makes the tun device of the current namespace. The data that a
// program sends crosses it in segments of up to 64 KiB with the checksum left
// open: that is what the virtio header and the offloads are for.
func openTun(path string) (fd, index int, err error) {
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	ifr, err := unix.NewIfreq(subnet.Device)
	if err != nil {
		return -1, 0, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return -1, 0, fmt.Errorf("make a tun device with %s: %w", path, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6); err != nil {
		return -1, 0, fmt.Errorf("offloads of the tun device: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	if err := unix.IoctlIfreq(s, unix.SIOCGIFINDEX, ifr); err != nil {
		return -1, 0, fmt.Errorf("index of the tun device: %w", err)
	}
	return fd, int(ifr.Uint32()), nil
}

// setUpNetwork brings lo and the tun up.
func setUpNetwork(c *rtnetlink.Conn, tun, mtu int, ipv6 bool) error {
	gid := os.Getegid()
	sysctl("net/ipv4/ping_group_range", fmt.Sprintf("%d %d", gid, gid)) // ping without capabilities
	sysctl("net/ipv4/ip_unprivileged_port_start", "0")                  // listen on port 80 without them
	// No router solicitations and multicast reports in the capture.
	sysctl("net/ipv6/conf/"+subnet.Device+"/addr_gen_mode", "1")
	sysctl("net/ipv6/conf/"+subnet.Device+"/accept_ra", "0")

	if err := c.LinkUp(subnet.LoIndex, 0, 0); err != nil {
		return err
	}
	if err := c.LinkUp(tun, uint32(mtu), txQueue); err != nil {
		return err
	}
	if err := c.AddAddr(tun, subnet.App4); err != nil {
		return err
	}
	if err := c.AddRoute(rtnetlink.Route{Dst: subnet.Default4, Gateway: subnet.Gateway4, Index: tun}); err != nil {
		return err
	}
	if ipv6 {
		if err := c.AddAddr(tun, subnet.App6); err != nil {
			return err
		}
		if err := c.AddRoute(rtnetlink.Route{Dst: subnet.Default6, Gateway: subnet.Gateway6, Index: tun}); err != nil {
			return err
		}
	}
	return routeLocalnet(c, tun)
}

// localnet is the routing table of what goes to the host's loopback.
const localnet = 100

// routeLocalnet sends what programs send to 127.0.0.0/8 out of the tun instead
// of lo, while 127.0.0.1 stays a local address for what arrives: netd can then
// hand it to the host's loopback, or reflect it to a server inside.
func routeLocalnet(c *rtnetlink.Conn, tun int) error {
	for _, dev := range []string{"all", subnet.Device} {
		sysctl("net/ipv4/conf/"+dev+"/rp_filter", "0")
	}
	for _, dev := range []int{tun, subnet.LoIndex} {
		if err := c.SetConf4(dev, map[uint16]uint32{
			rtnetlink.ConfRPFilter: 0, rtnetlink.ConfAcceptLocal: 1, rtnetlink.ConfRouteLocalnet: 1,
		}); err != nil {
			return err
		}
	}
	if err := c.AddRoute(rtnetlink.Route{Dst: subnet.Loopback4, Source: subnet.Local4, Index: tun, Table: localnet}); err != nil {
		return err
	}
	// The kernel's rule 0, "look up local", has to come after ours.
	if err := c.AddRule(rtnetlink.Rule{Priority: 1, IIF: "lo", Dst: subnet.Loopback4, Table: localnet}); err != nil {
		return err
	}
	if err := c.AddRule(rtnetlink.Rule{Priority: 2, Table: unix.RT_TABLE_LOCAL}); err != nil {
		return err
	}
	return c.DeleteRule(rtnetlink.Rule{Priority: 0, Table: unix.RT_TABLE_LOCAL})
}

// routeLocalnet6 does for ::1 what routeLocalnet does for 127.0.0.0/8, and returns
// the socket for what arrives: the kernel takes packets from and to ::1 from no
// device but lo (RFC 4291, section 2.5.3), so they have to be sent there.
func routeLocalnet6(c *rtnetlink.Conn, tun int) (loopback int, err error) {
	const nexthop, arrives = 1, 1 // ids of the nexthop and of the mark
	// A route is refused that prefers a source which its device does not have. One by
	// a nexthop is not looked at again when that changes.
	if err := c.SetNexthop(nexthop, subnet.LoIndex); err != nil {
		return -1, err
	}
	if err := c.AddRoute(rtnetlink.Route{Dst: subnet.Loopback6, Source: subnet.Local6, Nexthop: nexthop, Table: localnet}); err != nil {
		return -1, err
	}
	if err := c.SetNexthop(nexthop, tun); err != nil {
		return -1, err
	}
	loopback, err = packetSender(subnet.LoIndex, arrives)
	if err != nil {
		return -1, err
	}
	// To the kernel what arrives from lo looks like what is sent there, but for the mark.
	for i, r := range []rtnetlink.Rule{
		{Mark: arrives, Table: unix.RT_TABLE_LOCAL},
		{IIF: "lo", Dst: subnet.Loopback6, Table: localnet},
		{Table: unix.RT_TABLE_LOCAL},
	} {
		r.Priority, r.IPv6 = uint32(i+1), true
		if err = c.AddRule(r); err != nil {
			break
		}
	}
	if err == nil {
		err = c.DeleteRule(rtnetlink.Rule{Priority: 0, Table: unix.RT_TABLE_LOCAL, IPv6: true})
	}
	if err != nil {
		unix.Close(loopback)
		return -1, err
	}
	return loopback, nil
}

// packetSender opens a packet socket that only sends, with virtio headers, on one
// interface.
func packetSender(index int, mark int) (fd int, err error) {
	// Protocol 0 receives nothing.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err == nil {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index})
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket of interface %d: %w", index, err)
	}
	return fd, nil
}

// sysctl sets a kernel parameter of the namespace if it can: /proc/sys is
// read-only in many containers, and each of them is a refinement.
func sysctl(name, value string) { os.WriteFile("/proc/sys/"+name, []byte(value), 0) }
