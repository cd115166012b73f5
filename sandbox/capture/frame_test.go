//go:build linux

package capture

import (
	"bytes"
	"testing"

	"clipper/bus"

	"golang.org/x/sys/unix"
)

// testFrame is a frame of a block under construction.
type testFrame struct {
	sec, nsec   uint32
	status      uint32
	tpid        uint16
	tci         uint32
	arp         uint16
	kind        byte
	data        string
	extraLength uint32 // that was not captured
}

// testBlock lays a block out as the kernel does.
func testBlock(frames ...testFrame) []byte {
	const first, start = 48, 82
	b := make([]byte, first)
	native.PutUint32(b[blockFrames:], uint32(len(frames)))
	native.PutUint32(b[blockFirst:], first)
	for i, f := range frames {
		h := make([]byte, start, start+len(f.data)+15)
		native.PutUint32(h[hdrSec:], f.sec)
		native.PutUint32(h[hdrNsec:], f.nsec)
		native.PutUint32(h[hdrSnap:], uint32(len(f.data)))
		native.PutUint32(h[hdrLen:], uint32(len(f.data))+f.extraLength)
		native.PutUint32(h[hdrStatus:], f.status)
		native.PutUint16(h[hdrMAC:], start)
		native.PutUint32(h[hdrTCI:], f.tci)
		native.PutUint16(h[hdrTPID:], f.tpid)
		native.PutUint32(h[hdrIfindex:], uint32(i+1))
		native.PutUint16(h[hdrARPType:], f.arp)
		h[hdrPktType] = f.kind
		h = append(h, f.data...)
		h = h[:(len(h)+15)&^15]
		if i < len(frames)-1 {
			native.PutUint32(h[hdrNext:], uint32(len(h)))
		}
		b = append(b, h...)
	}
	return b
}

func TestFramesOfBlock(t *testing.T) {
	const mac = "\x01\x02\x03\x04\x05\x06\x11\x12\x13\x14\x15\x16"
	block := testBlock(
		testFrame{sec: 10, nsec: 500, arp: unix.ARPHRD_NONE, kind: unix.PACKET_OUTGOING, data: "out", status: unix.TP_STATUS_CSUMNOTREADY},
		testFrame{sec: 10, nsec: 700, arp: unix.ARPHRD_LOOPBACK, data: "lo", extraLength: 5},
		testFrame{sec: 10, nsec: 600, arp: unix.ARPHRD_ETHER, data: mac + "\x08\x00ip", status: unix.TP_STATUS_VLAN_VALID, tci: 7},
		testFrame{sec: 10, nsec: 600, arp: unix.ARPHRD_ETHER, data: mac + "\x08\x00ip", tpid: 0x88a8, tci: 8,
			status: unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID},
	)
	got, err := appendFrames(nil, block)
	if err != nil {
		t.Fatal(err)
	}
	want := []frame{
		{time: 10e9 + 500, length: 3, ifindex: 1, linkType: linkRaw, flags: bus.Outgoing | bus.CsumNotReady, data: []byte("out")},
		{time: 10e9 + 600, length: 20, ifindex: 3, linkType: linkEthernet, data: []byte(mac + "\x81\x00\x00\x07\x08\x00ip")},
		{time: 10e9 + 600, length: 20, ifindex: 4, linkType: linkEthernet, data: []byte(mac + "\x88\xa8\x00\x08\x08\x00ip")},
		{time: 10e9 + 700, length: 7, ifindex: 2, linkType: linkEthernet, flags: bus.Truncated, data: []byte("lo")},
	}
	if len(got) != len(want) {
		t.Fatalf("%d frames", len(got))
	}
	for i, w := range want {
		g := got[i]
		if !bytes.Equal(g.data, w.data) {
			t.Errorf("frame %d: %q, want %q", i, g.data, w.data)
		}
		g.data, w.data = nil, nil
		if g.time != w.time || g.length != w.length || g.ifindex != w.ifindex || g.linkType != w.linkType || g.flags != w.flags {
			t.Errorf("frame %d: %+v, want %+v", i, g, w)
		}
	}
}

// A block that makes no sense is an error, wherever it is cut off.
func TestMalformedBlock(t *testing.T) {
	block := testBlock(testFrame{arp: 1, data: "first"}, testFrame{arp: 1, data: "second"})
	end := bytes.LastIndex(block, []byte("second")) + len("second")
	for n := 48; n < len(block); n++ {
		frames, err := appendFrames(nil, block[:n:n])
		if (err == nil) != (n >= end) {
			t.Errorf("block of %d bytes: %d frames, %v", n, len(frames), err)
		}
	}
}

func FuzzBlock(f *testing.F) {
	f.Add(testBlock(testFrame{arp: 1, data: "first"}, testFrame{arp: 1, data: "second, with a tag", status: unix.TP_STATUS_VLAN_VALID}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 48 || native.Uint32(b[blockFrames:]) > 1000 {
			return
		}
		frames, _ := appendFrames(nil, b)
		for _, f := range frames {
			Partition(f.linkType, f.data, 4)
		}
	})
}
