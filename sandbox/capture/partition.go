package capture

import (
	"bytes"
	"encoding/binary"
)

// LINKTYPE_ values (https://www.tcpdump.org/linktypes.html).
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw      = 101
	linkSLL      = 113
	linkSLL2     = 276
)

// EtherTypes (IEEE 802).
const (
	etherIPv4   = 0x0800
	etherIPv6   = 0x86dd
	etherVLAN   = 0x8100
	etherQinQ   = 0x88a8
	etherLegacy = 0x9100
)

// Partition chooses the partition, from 0 to n-1, for a frame of the given
// LINKTYPE_. It is an FNV-1a hash of what both directions of a conversation
// have in common:
//
//   - TCP and UDP: the addresses with their ports, and the protocol;
//   - a fragment of an IP packet: the addresses, the protocol and the
//     identification, so that all fragments of a packet meet. They meet in a
//     partition that is, in general, not that of their connection: what was put
//     together from fragments does not join the other packets of its five-tuple;
//   - an ICMP error: what the packet that it quotes has;
//   - other IP packets: the addresses and the protocol.
//
// What is not IP goes to partition 0.
func Partition(linkType uint16, frame []byte, n int) int {
	if n <= 1 {
		return 0
	}
	p := network(linkType, frame)
	if p == nil {
		return 0
	}
	h, ok := hashIP(p, true)
	if !ok {
		return 0
	}
	return int(h % uint64(n))
}

// network returns the IP packet of a frame, nil if there is none.
func network(linkType uint16, b []byte) []byte {
	switch linkType {
	case linkRaw:
		return b
	case linkEthernet:
		return etherPayload(b, 12, 14)
	case linkSLL:
		return etherPayload(b, 14, 16)
	case linkSLL2:
		return etherPayload(b, 0, 20)
	case linkNull:
		if len(b) > 4 {
			return b[4:]
		}
	}
	return nil
}

func etherPayload(b []byte, typ, payload int) []byte {
	if len(b) < payload {
		return nil
	}
	t, b := binary.BigEndian.Uint16(b[typ:]), b[payload:]
	for t == etherVLAN || t == etherQinQ || t == etherLegacy {
		if len(b) < 4 {
			return nil
		}
		t, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	if t != etherIPv4 && t != etherIPv6 {
		return nil
	}
	return b
}

// IP protocol numbers (IANA).
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoICMPv6   = 58
	protoDestOpts = 60
)

// hashIP hashes an IP packet. quotes says whether the packet that an ICMP
// error quotes stands for it.
func hashIP(b []byte, quotes bool) (uint64, bool) {
	if len(b) < 20 {
		return 0, false
	}
	switch b[0] >> 4 {
	case 4:
		return hashIPv4(b, quotes)
	case 6:
		return hashIPv6(b, quotes)
	}
	return 0, false
}

func hashIPv4(b []byte, quotes bool) (uint64, bool) {
	head := int(b[0]&15) * 4
	if head < 20 {
		return 0, false
	}
	src, dst, proto := b[12:16], b[16:20], b[9]
	const moreFragments, offset = 0x2000, 0x1fff
	if binary.BigEndian.Uint16(b[6:])&(moreFragments|offset) != 0 {
		return fold(pair(src, nil, dst, nil), proto, b[4:6]), true
	}
	if head > len(b) {
		return fold(pair(src, nil, dst, nil), proto, nil), true
	}
	return hashTransport(src, dst, proto, b[head:], quotes), true
}

func hashIPv6(b []byte, quotes bool) (uint64, bool) {
	if len(b) < 40 {
		return 0, false
	}
	src, dst, proto, rest := b[8:24], b[24:40], b[6], b[40:]
	for len(rest) >= 8 {
		switch proto {
		case protoHopByHop, protoRouting, protoDestOpts:
			n := 8 + 8*int(rest[1])
			if n > len(rest) {
				return fold(pair(src, nil, dst, nil), proto, nil), true
			}
			proto, rest = rest[0], rest[n:]
			continue
		case protoFragment:
			const moreFragments, offset = 1, 0xfff8
			if binary.BigEndian.Uint16(rest[2:])&(moreFragments|offset) != 0 {
				return fold(pair(src, nil, dst, nil), rest[0], rest[4:8]), true
			}
			proto, rest = rest[0], rest[8:]
			continue
		}
		break
	}
	return hashTransport(src, dst, proto, rest, quotes), true
}

func hashTransport(src, dst []byte, proto byte, b []byte, quotes bool) uint64 {
	switch {
	case (proto == protoTCP || proto == protoUDP) && len(b) >= 4:
		return fold(pair(src, b[0:2], dst, b[2:4]), proto, nil)
	case quotes && isICMPError(proto, b):
		if h, ok := hashIP(b[8:], false); ok {
			return h
		}
	}
	return fold(pair(src, nil, dst, nil), proto, nil)
}

// isICMPError reports whether b is a message that quotes the packet it is about
// (RFC 792; RFC 4443, section 2.1).
func isICMPError(proto byte, b []byte) bool {
	if len(b) < 8 {
		return false
	}
	switch proto {
	case protoICMP:
		return b[0] == 3 || b[0] == 4 || b[0] == 5 || b[0] == 11 || b[0] == 12
	case protoICMPv6:
		return b[0] < 128
	}
	return false
}

// FNV-1a, 64 bits (RFC 9923).
const (
	fnvOffset = 0xcbf29ce484222325
	fnvPrime  = 0x100000001b3
)

func fnv(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}

// pair hashes two ends, the lower first.
func pair(a, aPort, b, bPort []byte) uint64 {
	c := bytes.Compare(a, b)
	if c == 0 {
		c = bytes.Compare(aPort, bPort)
	}
	if c > 0 {
		a, aPort, b, bPort = b, bPort, a, aPort
	}
	return fnv(fnv(fnv(fnv(fnvOffset, a), aPort), b), bPort)
}

// fold ends a hash; its high half is mixed into the low one, which chooses the
// partition.
func fold(h uint64, proto byte, id []byte) uint64 {
	h = fnv((h^uint64(proto))*fnvPrime, id)
	return h ^ h>>32
}
