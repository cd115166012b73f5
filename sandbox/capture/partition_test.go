package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"
)

// packet4 makes an IPv4 packet without options.
func packet4(src, dst byte, proto byte, fragment uint16, id uint16, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[9] = 0x45, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], []byte{10, 0, 0, src})
	copy(b[16:], []byte{10, 0, 0, dst})
	return append(b, payload...)
}

// packet6 makes an IPv6 packet.
func packet6(src, dst byte, next byte, payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6] = 0x60, next
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	b[23], b[39] = src, dst
	return append(b, payload...)
}

func ports(src, dst uint16) []byte {
	b := make([]byte, 8)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

func ethernet(etherType uint16, packet []byte) []byte {
	b := make([]byte, 14)
	binary.BigEndian.PutUint16(b[12:], etherType)
	return append(b, packet...)
}

func vlan(etherType uint16, packet []byte) []byte {
	b := []byte{0, 7, 0, 0}
	binary.BigEndian.PutUint16(b[2:], etherType)
	return append(b, packet...)
}

// many is enough partitions that equal ones mean equal hashes.
const many = 1 << 20

func TestPartitionMeet(t *testing.T) {
	tcp := packet4(1, 2, 6, 0, 1, ports(1000, 80))
	back := packet4(2, 1, 6, 0, 9, ports(80, 1000))
	tcp6 := packet6(1, 2, 6, ports(1000, 80))
	unreachable := packet4(2, 1, 1, 0, 5, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, tcp...))
	unreachable6 := packet6(2, 1, 58, append([]byte{1, 0, 0, 0, 0, 0, 0, 0}, tcp6...))
	const df, mf = 0x4000, 0x2000
	sll := append(make([]byte, 14), append([]byte{8, 0}, tcp...)...)
	sll2 := append(append([]byte{8, 0}, make([]byte, 18)...), tcp...)
	for _, c := range []struct {
		name         string
		aLink, bLink uint16
		a, b         []byte
		differ       bool
	}{
		{name: "directions", aLink: 101, bLink: 101, a: tcp, b: back},
		{name: "same host", aLink: 101, bLink: 101, a: packet4(1, 1, 6, 0, 0, ports(5, 80)), b: packet4(1, 1, 6, 0, 0, ports(80, 5))},
		{name: "IPv6 directions", aLink: 101, bLink: 101, a: tcp6, b: packet6(2, 1, 6, ports(80, 1000))},
		{name: "don't fragment", aLink: 101, bLink: 101, a: tcp, b: packet4(1, 2, 6, df, 4, ports(1000, 80))},
		{name: "Ethernet", aLink: 101, bLink: 1, a: tcp, b: ethernet(0x0800, back)},
		{name: "VLAN", aLink: 101, bLink: 1, a: tcp, b: ethernet(0x88a8, vlan(0x8100, vlan(0x0800, back)))},
		{name: "SLL", aLink: 101, bLink: 113, a: tcp, b: sll},
		{name: "SLL2", aLink: 101, bLink: 276, a: tcp, b: sll2},
		{name: "NULL", aLink: 101, bLink: 0, a: tcp, b: append([]byte{2, 0, 0, 0}, tcp...)},
		{name: "fragments", aLink: 101, bLink: 101, a: packet4(1, 2, 17, mf, 7, ports(1, 2)), b: packet4(1, 2, 17, 185, 7, ports(77, 99))},
		{name: "IPv6 fragments", aLink: 101, bLink: 101,
			a: packet6(1, 2, 44, append([]byte{17, 0, 0, 1, 0, 0, 0, 7}, ports(1, 2)...)),
			b: packet6(1, 2, 44, append([]byte{17, 0, 5, 0, 0, 0, 0, 7}, ports(77, 99)...))},
		{name: "IPv6 extension headers", aLink: 101, bLink: 101, a: tcp6,
			b: packet6(1, 2, 0, append([]byte{60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1}, ports(1000, 80)...))},
		{name: "ICMP error", aLink: 101, bLink: 101, a: tcp, b: unreachable},
		{name: "ICMPv6 error", aLink: 101, bLink: 101, a: tcp6, b: unreachable6},
		{name: "ping", aLink: 101, bLink: 101, a: packet4(1, 2, 1, 0, 0, []byte{8, 0, 1, 2, 3, 4, 5, 6}), b: packet4(2, 1, 1, 0, 0, []byte{0, 0, 7, 7, 3, 4, 5, 6})},

		{name: "other port", aLink: 101, bLink: 101, a: tcp, b: packet4(1, 2, 6, 0, 0, ports(1001, 80)), differ: true},
		{name: "ports swapped", aLink: 101, bLink: 101, a: tcp, b: packet4(1, 2, 6, 0, 0, ports(80, 1000)), differ: true},
		{name: "other protocol", aLink: 101, bLink: 101, a: tcp, b: packet4(1, 2, 17, 0, 0, ports(1000, 80)), differ: true},
		{name: "other datagram", aLink: 101, bLink: 101, a: packet4(1, 2, 17, mf, 7, ports(1, 2)), b: packet4(1, 2, 17, mf, 8, ports(1, 2)), differ: true},
	} {
		a, b := Partition(c.aLink, c.a, many), Partition(c.bLink, c.b, many)
		if (a != b) != c.differ {
			t.Errorf("%s: partitions %d and %d", c.name, a, b)
		}
		if a == 0 || b == 0 {
			t.Errorf("%s: not recognized", c.name)
		}
	}
}

// The partition is part of a session's log: it must not change between
// versions.
func TestPartitionStable(t *testing.T) {
	got := fmt.Sprint(
		Partition(101, packet4(1, 2, 6, 0, 1, ports(1000, 80)), many),
		Partition(101, packet6(1, 2, 17, ports(53, 5353)), many),
		Partition(1, ethernet(0x0806, make([]byte, 28)), many))
	if want := "498247 93944 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPartitionSpread(t *testing.T) {
	const n = 4
	var count [n]int
	for port := range 4000 {
		count[Partition(101, packet4(1, 1, 6, 0, 0, ports(uint16(32768+port), 443)), n)]++
	}
	for p, c := range count {
		if c < 900 || c > 1100 {
			t.Errorf("partition %d has %d of 4000 connections", p, c)
		}
	}
}

func TestPartitionEveryPrefix(t *testing.T) {
	for _, b := range [][]byte{
		ethernet(0x8100, vlan(0x0800, packet4(1, 2, 6, 0, 1, ports(1000, 80)))),
		ethernet(0x86dd, packet6(1, 2, 0, append([]byte{44, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1}, ports(1000, 80)...))),
	} {
		for i := range b {
			Partition(1, bytes.Clone(b[:i:i]), 7)
		}
	}
}

func FuzzPartition(f *testing.F) {
	f.Add(uint16(101), packet4(2, 1, 1, 0, 5, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, packet4(1, 2, 6, 0, 1, ports(1000, 80))...)))
	f.Add(uint16(1), ethernet(0x86dd, packet6(1, 2, 44, append([]byte{17, 0, 5, 0, 0, 0, 0, 7}, ports(77, 99)...))))
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		if p := Partition(link, b, 5); p < 0 || p > 4 {
			t.Errorf("partition %d of %s", p, hex.EncodeToString(b))
		}
	})
}

func BenchmarkPartition(b *testing.B) {
	p := packet4(1, 2, 6, 0, 1, ports(1000, 80))
	for b.Loop() {
		Partition(101, p, 4)
	}
}
