package reassembler_test

import (
	"encoding/binary"
	"net/netip"

	"clipper/reassembler/internal/wire"
)

// tcpPacket is a TCP segment to be built into a frame.
type tcpPacket struct {
	src, dst netip.AddrPort
	seq, ack uint32
	flags    uint8
	window   uint16
	options  []byte
	payload  []byte
}

func (p *tcpPacket) transport() []byte {
	options := append([]byte(nil), p.options...)
	for len(options)%4 != 0 {
		options = append(options, 1)
	}
	b := binary.BigEndian.AppendUint16(nil, p.src.Port())
	b = binary.BigEndian.AppendUint16(b, p.dst.Port())
	b = binary.BigEndian.AppendUint32(b, p.seq)
	b = binary.BigEndian.AppendUint32(b, p.ack)
	b = append(b, byte(5+len(options)/4)<<4, p.flags)
	b = binary.BigEndian.AppendUint16(b, p.window)
	b = append(b, 0xba, 0xad, 0, 0) // a wrong checksum, as under offload
	return append(append(b, options...), p.payload...)
}

func udpHeader(src, dst netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// ipPackets wraps a transport segment into IP, in fragments of size bytes each
// if size is not 0.
func ipPackets(src, dst netip.Addr, proto uint8, id uint32, data []byte, size int) [][]byte {
	if size == 0 || size >= len(data) {
		return [][]byte{ipPacket(src, dst, proto, id, data, 0, false, false)}
	}
	var out [][]byte
	for off := 0; off < len(data); off += size {
		end := min(off+size, len(data))
		out = append(out, ipPacket(src, dst, proto, id, data[off:end], off, end < len(data), true))
	}
	return out
}

func ipPacket(src, dst netip.Addr, proto uint8, id uint32, data []byte, off int, more, fragment bool) []byte {
	if src.Is4() {
		word := uint16(off / 8)
		if more {
			word |= 0x2000
		}
		total := 20 + len(data)
		if total > 0xffff {
			total = 0 // as a capture shows a super-frame beyond 64 KiB
		}
		b := []byte{0x45, 0, byte(total >> 8), byte(total), byte(id >> 8), byte(id), byte(word >> 8), byte(word), 64, proto, 0, 0}
		return append(append(append(b, src.AsSlice()...), dst.AsSlice()...), data...)
	}
	next := proto
	if fragment {
		word := uint16(off)
		if more {
			word |= 1
		}
		h := []byte{proto, 0, byte(word >> 8), byte(word)}
		data = append(binary.BigEndian.AppendUint32(h, id), data...)
		next = 44
	}
	b := []byte{0x60, 0, 0, 0, byte(len(data) >> 8), byte(len(data)), next, 64}
	return append(append(append(b, src.AsSlice()...), dst.AsSlice()...), data...)
}

// linkFrame puts a link header in front of an IP packet.
func linkFrame(link string, ip []byte) (linkType uint16, frame []byte) {
	ether, pppProto, family := []byte{0x08, 0}, []byte{0, 0x21}, byte(2)
	if ip[0]>>4 == 6 {
		ether, pppProto, family = []byte{0x86, 0xdd}, []byte{0, 0x57}, 30
	}
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	mac := make([]byte, 12)
	gre := join([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 47, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0}, ether, ip)
	binary.BigEndian.PutUint16(gre[2:], uint16(len(gre)))
	ipip := join([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 4, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}, ip)
	binary.BigEndian.PutUint16(ipip[2:], uint16(len(ipip)))
	if ip[0]>>4 == 6 {
		ipip[9] = 41
	}
	vxlan := join([]byte{8, 0, 0, 0, 0, 0, 5, 0}, mac, ether, ip)
	vxlanUDP := udpHeader(netip.MustParseAddrPort("1.1.1.1:5555"), netip.MustParseAddrPort("2.2.2.2:4789"), vxlan)
	switch link {
	case "ethernet":
		return wire.LinkEthernet, join(mac, ether, ip)
	case "padded":
		return wire.LinkEthernet, join(mac, ether, ip, make([]byte, 40))
	case "vlan":
		return wire.LinkEthernet, join(mac, []byte{0x81, 0, 0, 5}, ether, ip)
	case "qinq":
		return wire.LinkEthernet, join(mac, []byte{0x88, 0xa8, 0, 5, 0x81, 0, 0, 6}, ether, ip)
	case "mpls":
		return wire.LinkEthernet, join(mac, []byte{0x88, 0x47, 0, 0, 0, 64, 0, 0, 1, 64}, ip)
	case "pppoe":
		return wire.LinkEthernet, join(mac, []byte{0x88, 0x64, 0x11, 0, 0, 1, 0, 0}, pppProto, ip)
	case "snap":
		return wire.LinkEthernet, join(mac, []byte{0, 60, 0xaa, 0xaa, 3, 0, 0, 0}, ether, ip)
	case "gre":
		return wire.LinkEthernet, join(mac, []byte{8, 0}, gre)
	case "ipip":
		return wire.LinkEthernet, join(mac, []byte{8, 0}, ipip)
	case "vxlan":
		return wire.LinkEthernet, join(mac, []byte{8, 0}, ipPacket(netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("2.2.2.2"), 17, 1, vxlanUDP, 0, false, false))
	case "raw":
		return wire.LinkRaw, ip
	case "null":
		return wire.LinkNull, join([]byte{family, 0, 0, 0}, ip)
	case "loop":
		return wire.LinkLoop, join([]byte{0, 0, 0, family}, ip)
	case "sll":
		return wire.LinkSLL, join(make([]byte, 14), ether, ip)
	case "sll2":
		return wire.LinkSLL2, join(ether, make([]byte, 18), ip)
	case "ppp":
		return wire.LinkPPP, join([]byte{0xff, 3}, pppProto, ip)
	case "ppp-short":
		return wire.LinkPPPHDLC, join(pppProto[1:], ip)
	case "chdlc":
		return wire.LinkCHDLC, join([]byte{0x0f, 0}, ether, ip)
	case "wifi":
		return wire.LinkWiFi, join([]byte{0x88, 1}, make([]byte, 24), []byte{0xaa, 0xaa, 3, 0, 0, 0}, ether, ip)
	case "radiotap":
		return wire.LinkRadiotap, join([]byte{0, 0, 8, 0, 0, 0, 0, 0, 0x08, 1}, make([]byte, 22), []byte{0xaa, 0xaa, 3, 0, 0, 0}, ether, ip)
	}
	panic("no link " + link)
}

var links = []string{"ethernet", "padded", "vlan", "qinq", "mpls", "pppoe", "snap", "gre", "ipip", "vxlan", "raw", "null", "loop", "sll", "sll2",
	"ppp", "ppp-short", "chdlc", "wifi", "radiotap"}
