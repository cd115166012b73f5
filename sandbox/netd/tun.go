//go:build linux

package netd

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"clipper/sandbox/internal/subnet"
	"clipper/sandbox/internal/tcp"

	"golang.org/x/sys/unix"
)

// vnetHeaderLen is the size of struct virtio_net_hdr, which stands before each
// packet: offloaded checksums and segmentation.
const vnetHeaderLen = 10

// maxPacket is the largest IP packet.
const maxPacket = 65535

// tun is the tun device, with IFF_VNET_HDR. Any number of goroutines may write
// packets, one may read.
type tun struct {
	fd   int
	lo   int    // packet socket on lo, for packets to ::1; 0: there is none
	wait func() // blocks while the capture falls behind; never nil
	buf  [vnetHeaderLen + maxPacket]byte
}

func newTun(fd, lo int) (*tun, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("netd: tun descriptor %d: %w", fd, err)
	}
	return &tun{fd: fd, lo: lo, wait: func() {}}, nil
}

// read takes the next packet and its virtio header, valid until the next call.
// With none there the error is unix.EAGAIN.
func (t *tun) read() (vnet, b []byte, err error) {
	t.wait()
	n, errno := rawRead(t.fd, t.buf[:])
	switch {
	case errno == unix.EAGAIN:
		return nil, nil, errno
	case errno != 0:
		return nil, nil, fmt.Errorf("netd: read packets: %w", errno)
	case n < vnetHeaderLen:
		return nil, nil, nil
	}
	return t.buf[:vnetHeaderLen], t.buf[vnetHeaderLen:n], nil
}

// send writes a complete packet.
func (t *tun) send(b []byte) {
	var vnet [vnetHeaderLen]byte
	t.reflect(vnet[:], b)
}

// reflect writes a packet with a virtio header that it came with.
func (t *tun) reflect(vnet, b []byte) {
	t.wait()
	var room [2]unix.Iovec
	fd := t.fd
	if t.toLo(b) {
		fd, vnet = t.lo, loHeader(vnet)
	}
	rawWritev(fd, appendIovec(appendIovec(room[:0], vnet), b))
}

// toLo reports whether a packet has to reach the sandbox by lo.
func (t *tun) toLo(b []byte) bool {
	return t.lo != 0 && len(b) >= ipv6HeaderLen && b[0]>>4 == 6 && netip.AddrFrom16([16]byte(b[24:40])) == subnet.Local6
}

// loHeader is what stands before an IPv6 packet on lo: its virtio header, which
// then counts from the beginning of an Ethernet header, and that.
func loHeader(vnet []byte) []byte {
	const ethernetLen = 14
	h := make([]byte, vnetHeaderLen+ethernetLen)
	copy(h, vnet)
	if vnet[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0 {
		binary.NativeEndian.PutUint16(h[6:], binary.NativeEndian.Uint16(vnet[6:])+ethernetLen)
	}
	if vnet[1] != unix.VIRTIO_NET_HDR_GSO_NONE {
		binary.NativeEndian.PutUint16(h[2:], binary.NativeEndian.Uint16(vnet[2:])+ethernetLen)
	}
	binary.BigEndian.PutUint16(h[vnetHeaderLen+12:], unix.ETH_P_IPV6)
	return h
}

// write writes a packet behind its virtio header. One that the kernel does not
// take is as lost.
func (t *tun) write(b []byte) {
	if t.toLo(b[vnetHeaderLen:]) {
		t.reflect(b[:vnetHeaderLen], b[vnetHeaderLen:])
		return
	}
	t.wait()
	rawWrite(t.fd, b)
}

func appendIovec(iov []unix.Iovec, b []byte) []unix.Iovec {
	if len(b) == 0 {
		return iov
	}
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return append(iov, v)
}

// putSegmentOffload fills in the virtio header of a TCP segment: its checksum,
// which holds that of the pseudo-header so far, and its division into packets of
// mss bytes of payload are left to the kernel (virtio 1.3, section 5.1.6).
func putSegmentOffload(vnet []byte, ip4 bool, ipHeader int, s *tcp.Segment, mss int) {
	clear(vnet[:vnetHeaderLen])
	vnet[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	binary.NativeEndian.PutUint16(vnet[6:], uint16(ipHeader))
	binary.NativeEndian.PutUint16(vnet[8:], tcpChecksum)
	if len(s.Payload) <= mss {
		return
	}
	vnet[1] = unix.VIRTIO_NET_HDR_GSO_TCPV4
	if !ip4 {
		vnet[1] = unix.VIRTIO_NET_HDR_GSO_TCPV6
	}
	binary.NativeEndian.PutUint16(vnet[2:], uint16(ipHeader+s.Len()))
	binary.NativeEndian.PutUint16(vnet[4:], uint16(mss))
}
