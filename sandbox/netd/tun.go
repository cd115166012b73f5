//go:build linux

package netd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// vnetHeaderLen is the size of struct virtio_net_hdr, which stands before each
// packet: offloaded checksums and segmentation.
const vnetHeaderLen = 10

// maxPacket is what one read takes: the largest buffer that gVisor's chunk pool
// recycles, so the virtio header has to go elsewhere.
const maxPacket = 64 << 10

// tun is gVisor's link over a tun device with IFF_VNET_HDR. gVisor's fdbased
// link would not use segmentation offload on a tun.
type tun struct {
	f    *os.File
	rc   syscall.RawConn
	fd   int // valid while f is open
	mtu  uint32
	disp stack.NetworkDispatcher

	wait func() // blocks while the capture falls behind; never nil
	// take consumes a packet, or leaves it to gVisor; vnet is its virtio header.
	take func(p *packet, vnet []byte) bool
	done chan struct{}
}

func newTun(fd int, mtu uint32) (*tun, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("netd: tun descriptor %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(fd), "tun")
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("netd: tun descriptor %d: %w", fd, err)
	}
	return &tun{f: f, rc: rc, fd: fd, mtu: mtu, wait: func() {}, done: make(chan struct{})}, nil
}

// read delivers packets until the tun is closed.
func (t *tun) read() error {
	defer close(t.done)
	var vnet [vnetHeaderLen]byte
	v := buffer.NewViewSize(maxPacket)
	for {
		t.wait()
		var n int
		var errno syscall.Errno
		iov := [2]unix.Iovec{{Base: &vnet[0]}, {Base: &v.AsSlice()[0]}}
		iov[0].SetLen(vnetHeaderLen)
		iov[1].SetLen(maxPacket)
		err := t.rc.Read(func(fd uintptr) bool {
			n, errno = rawReadv(int(fd), iov[:])
			return errno != unix.EAGAIN
		})
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("netd: read packets: %w", err)
		case errno != 0:
			return fmt.Errorf("netd: read packets: %w", errno)
		}
		n -= vnetHeaderLen
		if n <= 0 {
			continue
		}
		p, ok := parsePacket(v.AsSlice()[:n])
		if !ok || t.take(&p, vnet[:]) {
			continue
		}
		proto := header.IPv4ProtocolNumber
		if p.dst.Addr().Is6() {
			proto = header.IPv6ProtocolNumber
		}
		if n <= 4096 {
			t.deliver(proto, buffer.MakeWithData(v.AsSlice()[:n]))
			continue
		}
		v.CapLength(n)
		t.deliver(proto, buffer.MakeWithView(v))
		v = buffer.NewViewSize(maxPacket)
	}
}

func (t *tun) deliver(proto tcpip.NetworkProtocolNumber, b buffer.Buffer) {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: b})
	defer pkt.DecRef()
	// Nothing was damaged on a wire, and offloaded checksums are not filled in.
	pkt.RXChecksumValidated = true
	t.disp.DeliverNetworkPacket(proto, pkt)
}

// WritePackets implements stack.LinkWriter.
func (t *tun) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range list.AsSlice() {
		t.wait()
		if err := t.writePacket(pkt); err != nil {
			return i, err
		}
	}
	return list.Len(), nil
}

func (t *tun) writePacket(pkt *stack.PacketBuffer) tcpip.Error {
	var h [vnetHeaderLen]byte
	if g := pkt.GSOOptions; g.Type != stack.GSONone {
		binary.NativeEndian.PutUint16(h[2:], uint16(pkt.HeaderSize()))
		if g.NeedsCsum {
			h[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
			binary.NativeEndian.PutUint16(h[6:], g.L3HdrLen)
			binary.NativeEndian.PutUint16(h[8:], g.CsumOffset)
		}
		if pkt.Data().Size() > int(g.MSS) {
			h[1] = unix.VIRTIO_NET_HDR_GSO_TCPV4
			if g.Type == stack.GSOTCPv6 {
				h[1] = unix.VIRTIO_NET_HDR_GSO_TCPV6
			}
			binary.NativeEndian.PutUint16(h[4:], g.MSS)
		}
	}
	var room [16]unix.Iovec
	iov := appendIovec(room[:0], h[:])
	for _, b := range pkt.AsSlices() {
		iov = appendIovec(iov, b)
	}
	if errno := t.writev(iov); errno != 0 {
		return &tcpip.ErrAborted{} // as lost
	}
	return nil
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
	t.writev(appendIovec(appendIovec(room[:0], vnet), b))
}

func (t *tun) writev(iov []unix.Iovec) unix.Errno { return rawWritev(t.fd, iov) }

func appendIovec(iov []unix.Iovec, b []byte) []unix.Iovec {
	if len(b) == 0 {
		return iov
	}
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return append(iov, v)
}

// The rest of stack.LinkEndpoint and stack.GSOEndpoint.

func (t *tun) Capabilities() stack.LinkEndpointCapabilities {
	// Never CapabilityTXChecksumOffload: gVisor then leaves SYN-ACK, RST and UDP
	// without a checksum and without GSOOptions that say so. HostGSOSupported
	// alone makes data segments checksum-partial.
	return stack.CapabilityRXChecksumOffload
}
func (t *tun) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (t *tun) GSOMaxSize() uint32                      { return 65000 }
func (t *tun) MTU() uint32                             { return t.mtu }
func (t *tun) SetMTU(mtu uint32)                       { t.mtu = mtu }
func (t *tun) MaxHeaderLength() uint16                 { return 0 }
func (t *tun) LinkAddress() tcpip.LinkAddress          { return "" }
func (t *tun) SetLinkAddress(tcpip.LinkAddress)        {}
func (t *tun) Attach(d stack.NetworkDispatcher)        { t.disp = d }
func (t *tun) IsAttached() bool                        { return t.disp != nil }
func (t *tun) Wait()                                   {}
func (t *tun) Close()                                  {}
func (t *tun) SetOnCloseAction(func())                 {}
func (t *tun) AddHeader(*stack.PacketBuffer)           {}
func (t *tun) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (t *tun) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

func toAddr(a tcpip.Address) netip.Addr {
	x, _ := netip.AddrFromSlice(a.AsSlice())
	return x
}

func fromAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }
