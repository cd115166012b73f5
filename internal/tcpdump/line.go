// Package tcpdump prints frames as the program of this name does with -nn -S.
// What flows in are frames of the capture; what flows out is a line for each.
package tcpdump

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// LINKTYPE_IPV4 and LINKTYPE_IPV6, which the decoder library has no name for.
const linkIPv4, linkIPv6 = 228, 229

// Line describes a frame in one line, without its time: the addresses and, for
// TCP, flags, absolute sequence numbers, window and options (RFC 9293). data may
// be less than the length bytes that the frame had.
func Line(linkType uint16, data []byte, length int) string {
	var first gopacket.Decoder = layers.LinkType(linkType)
	switch linkType {
	case linkIPv4:
		first = layers.LayerTypeIPv4
	case linkIPv6:
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(data, first, gopacket.DecodeOptions{Lazy: true, NoCopy: true, DecodeStreamsAsDatagrams: true})
	missing := max(length-len(data), 0)
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			ip := header{name: "IP", src: l.SrcIP, dst: l.DstIP, next: uint8(l.Protocol), length: len(l.Payload) + missing}
			if l.Length != 0 {
				ip.length = int(l.Length) - 4*int(l.IHL)
			}
			if l.FragOffset != 0 {
				return fmt.Sprintf("%s, fragment at %d, length %d", ip.ends("", ""), int(l.FragOffset)*8, ip.length)
			}
			if t := (layers.TCP{}); l.Flags&layers.IPv4MoreFragments != 0 && l.Protocol == layers.IPProtocolTCP &&
				t.DecodeFromBytes(l.Payload, gopacket.NilDecodeFeedback) == nil {
				return ip.tcp(&t, p)
			}
			return ip.describe(p)
		case *layers.IPv6:
			ip := header{name: "IP6", src: l.SrcIP, dst: l.DstIP, next: uint8(l.NextHeader), length: len(l.Payload) + missing}
			if l.Length != 0 {
				ip.length = int(l.Length)
			}
			return ip.describe(p)
		case *layers.ARP:
			return fmt.Sprintf("ARP, length %d", len(l.Contents))
		}
	}
	if e, ok := p.LinkLayer().(*layers.Ethernet); ok {
		return fmt.Sprintf("ethertype 0x%04x, length %d", uint16(e.EthernetType), length)
	}
	return fmt.Sprintf("link type %d, length %d", linkType, length)
}

// header is what of an IP header its line needs.
type header struct {
	name     string
	src, dst []byte
	next     uint8
	length   int // of what follows the header, on the wire
}

// ends is the beginning of a line: who sends to whom.
func (h header) ends(srcPort, dstPort string) string {
	return fmt.Sprintf("%s %s%s > %s%s:", h.name, address(h.src), srcPort, address(h.dst), dstPort)
}

func address(b []byte) string {
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

func (h header) ports(src, dst uint16) string {
	return h.ends(fmt.Sprintf(".%d", src), fmt.Sprintf(".%d", dst))
}

func (h header) describe(p gopacket.Packet) string {
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.TCP:
			return h.tcp(l, p)
		case *layers.UDP:
			n := int(l.Length) - 8
			if l.Length == 0 {
				n = len(l.Payload) // a super-frame
			}
			return fmt.Sprintf("%s UDP, length %d", h.ports(uint16(l.SrcPort), uint16(l.DstPort)), n)
		case *layers.ICMPv4:
			return fmt.Sprintf("%s ICMP %s, length %d", h.ends("", ""), icmpEcho(l.TypeCode.String(), l.TypeCode.Type() == layers.ICMPv4TypeEchoRequest, l.TypeCode.Type() == layers.ICMPv4TypeEchoReply, l.Id, l.Seq), h.length)
		case *layers.ICMPv6:
			request, reply := l.TypeCode.Type() == layers.ICMPv6TypeEchoRequest, l.TypeCode.Type() == layers.ICMPv6TypeEchoReply
			var id, seq uint16
			if len(l.Payload) >= 4 {
				id, seq = binary.BigEndian.Uint16(l.Payload), binary.BigEndian.Uint16(l.Payload[2:])
			}
			return fmt.Sprintf("%s ICMP6, %s, length %d", h.ends("", ""), icmpEcho(l.TypeCode.String(), request, reply, id, seq), h.length)
		}
	}
	return fmt.Sprintf("%s ip-proto-%d, length %d", h.ends("", ""), h.next, h.length)
}

func icmpEcho(name string, request, reply bool, id, seq uint16) string {
	switch {
	case request:
		return fmt.Sprintf("echo request, id %d, seq %d", id, seq)
	case reply:
		return fmt.Sprintf("echo reply, id %d, seq %d", id, seq)
	}
	return name
}

// tcp describes a segment. Its length is what IP says less the headers between.
func (h header) tcp(t *layers.TCP, p gopacket.Packet) string {
	n := h.length - 4*int(t.DataOffset)
	for _, l := range p.Layers() {
		switch l.LayerType() {
		case layers.LayerTypeIPv6HopByHop, layers.LayerTypeIPv6Routing, layers.LayerTypeIPv6Destination, layers.LayerTypeIPv6Fragment:
			n -= len(l.LayerContents())
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s Flags [%s], ", h.ports(uint16(t.SrcPort), uint16(t.DstPort)), flags(t))
	switch {
	case n > 0:
		fmt.Fprintf(&b, "seq %d:%d, ", t.Seq, t.Seq+uint32(n))
	case t.SYN || t.FIN || t.RST:
		fmt.Fprintf(&b, "seq %d, ", t.Seq)
	}
	if t.ACK {
		fmt.Fprintf(&b, "ack %d, ", t.Ack)
	}
	fmt.Fprintf(&b, "win %d, ", t.Window)
	if t.URG {
		fmt.Fprintf(&b, "urg %d, ", t.Urgent)
	}
	if o := options(t.Options); o != "" {
		fmt.Fprintf(&b, "options [%s], ", o)
	}
	fmt.Fprintf(&b, "length %d", n)
	return b.String()
}

// flags are tcpdump's letters.
func flags(t *layers.TCP) string {
	s := ""
	for _, f := range []struct {
		set    bool
		letter string
	}{{t.FIN, "F"}, {t.SYN, "S"}, {t.RST, "R"}, {t.PSH, "P"}, {t.ACK, "."}, {t.URG, "U"}, {t.ECE, "E"}, {t.CWR, "W"}, {t.NS, "e"}} {
		if f.set {
			s += f.letter
		}
	}
	if s == "" {
		return "none"
	}
	return s
}

// options lists TCP options (RFC 9293, 7323, 2018).
func options(all []layers.TCPOption) string {
	var s []string
	for _, o := range all {
		d := o.OptionData
		switch {
		case o.OptionType == layers.TCPOptionKindEndList:
			s = append(s, "eol")
		case o.OptionType == layers.TCPOptionKindNop:
			s = append(s, "nop")
		case o.OptionType == layers.TCPOptionKindMSS && len(d) == 2:
			s = append(s, fmt.Sprintf("mss %d", binary.BigEndian.Uint16(d)))
		case o.OptionType == layers.TCPOptionKindWindowScale && len(d) == 1:
			s = append(s, fmt.Sprintf("wscale %d", d[0]))
		case o.OptionType == layers.TCPOptionKindSACKPermitted:
			s = append(s, "sackOK")
		case o.OptionType == layers.TCPOptionKindSACK && len(d)%8 == 0:
			sack := fmt.Sprintf("sack %d ", len(d)/8)
			for ; len(d) >= 8; d = d[8:] {
				sack += fmt.Sprintf("{%d:%d}", binary.BigEndian.Uint32(d), binary.BigEndian.Uint32(d[4:]))
			}
			s = append(s, sack)
		case o.OptionType == layers.TCPOptionKindTimestamps && len(d) == 8:
			s = append(s, fmt.Sprintf("TS val %d ecr %d", binary.BigEndian.Uint32(d), binary.BigEndian.Uint32(d[4:])))
		default:
			s = append(s, fmt.Sprintf("unknown-%d", o.OptionType))
		}
	}
	return strings.Join(s, ",")
}
