//go:build linux

package capture

import (
	"cmp"
	"errors"
	"slices"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// Offsets in struct tpacket3_hdr and the struct sockaddr_ll behind it
// (linux/if_packet.h).
const (
	hdrNext    = 0
	hdrSec     = 4
	hdrNsec    = 8
	hdrSnap    = 12
	hdrLen     = 16
	hdrStatus  = 20
	hdrMAC     = 24
	hdrTCI     = 32
	hdrTPID    = 36
	hdrIfindex = 48 + 4
	hdrARPType = 48 + 8
	hdrPktType = 48 + 10
	hdrSize    = 48 + 20
)

// frame is one frame of a block.
type frame struct {
	time     int64 // Unix ns
	length   uint32
	ifindex  uint32
	linkType uint16
	flags    bus.Flags
	data     []byte // in the ring
}

var errBlock = errors.New("capture: the packet ring holds a malformed block")

// appendFrames appends the frames of a block in the order of their time stamps.
// The stamps are taken before the ring is entered, so a few of them are older
// than the one before.
func appendFrames(frames []frame, block []byte) ([]frame, error) {
	first := len(frames)
	n, off := native.Uint32(block[blockFrames:]), uint64(native.Uint32(block[blockFirst:]))
	sorted, last := true, int64(0)
	for ; n > 0; n-- {
		if off+hdrSize > uint64(len(block)) {
			return frames, errBlock
		}
		f, ok := parseFrame(block[off:])
		if !ok {
			return frames, errBlock
		}
		sorted, last = sorted && f.time >= last, f.time
		frames = append(frames, f)
		off += uint64(native.Uint32(block[off+hdrNext:]))
	}
	if !sorted {
		slices.SortStableFunc(frames[first:], func(a, b frame) int { return cmp.Compare(a.time, b.time) })
	}
	return frames, nil
}

// parseFrame reads the frame whose header b begins with.
func parseFrame(b []byte) (f frame, ok bool) {
	start, snap := uint64(native.Uint16(b[hdrMAC:])), uint64(native.Uint32(b[hdrSnap:]))
	if start < hdrSize || start+snap > uint64(len(b)) {
		return f, false
	}
	f = frame{
		time:     int64(native.Uint32(b[hdrSec:]))*1e9 + int64(native.Uint32(b[hdrNsec:])),
		length:   native.Uint32(b[hdrLen:]),
		ifindex:  native.Uint32(b[hdrIfindex:]),
		linkType: linkType(native.Uint16(b[hdrARPType:])),
		data:     b[start : start+snap : start+snap],
	}
	status := native.Uint32(b[hdrStatus:])
	if status&unix.TP_STATUS_VLAN_VALID != 0 && f.linkType == linkEthernet && len(f.data) >= 12 {
		f.insertVLAN(status, native.Uint16(b[hdrTPID:]), native.Uint32(b[hdrTCI:]))
	}
	if status&unix.TP_STATUS_CSUMNOTREADY != 0 {
		f.flags |= bus.CsumNotReady
	}
	if b[hdrPktType] == unix.PACKET_OUTGOING {
		f.flags |= bus.Outgoing
	}
	if len(f.data) < int(f.length) {
		f.flags |= bus.Truncated
	}
	return f, true
}

// insertVLAN puts the tag back that the kernel took out of the frame
// (IEEE 802.1Q, section 9).
func (f *frame) insertVLAN(status uint32, tpid uint16, tci uint32) {
	if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		tpid = unix.ETH_P_8021Q
	}
	d := make([]byte, 0, len(f.data)+4)
	d = append(d, f.data[:12]...)
	d = append(d, byte(tpid>>8), byte(tpid), byte(tci>>8), byte(tci))
	f.data = append(d, f.data[12:]...)
	f.length += 4
}

// linkType is the LINKTYPE_ value for the hardware type of an interface
// (linux/if_arp.h).
func linkType(arp uint16) uint16 {
	switch arp {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return linkEthernet
	}
	// Tun and the tunnels without a link-layer header: the frame is the packet.
	return linkRaw
}
