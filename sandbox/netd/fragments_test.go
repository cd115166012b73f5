//go:build linux

package netd

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cut divides a UDP packet as a kernel does.
func cut(b []byte, size int) [][]byte {
	var list [][]byte
	h := ipv4HeaderLen
	if b[0]>>4 == 6 {
		h = ipv6HeaderLen
	}
	body := b[h:]
	for off := 0; off < len(body); off += size {
		end := min(off+size, len(body))
		f := bytes.Clone(b[:h])
		more := uint16(0)
		if h == ipv4HeaderLen {
			if end < len(body) {
				more = 0x2000
			}
			binary.BigEndian.PutUint16(f[6:], more|uint16(off/8))
			binary.BigEndian.PutUint16(f[4:], 77)
		} else {
			if end < len(body) {
				more = 1
			}
			f = append(f, f[6], 0, 0, 0, 0, 0, 0, 77)
			f[6] = unix.IPPROTO_FRAGMENT
			binary.BigEndian.PutUint16(f[h+2:], more|uint16(off))
		}
		list = append(list, append(f, body[off:end]...))
	}
	return list
}

func TestFragments(t *testing.T) {
	for _, x := range [][2]netip.AddrPort{{a4, b4}, {a6, b6}} {
		want := udpPacket(x[0], x[1], strings.Repeat("hello ", 1000))
		list := cut(want, 1480)
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		var table fragments
		for i, f := range list {
			got := table.add(f, 0)
			if last := i == len(list)-1; last != (got != nil) {
				t.Fatalf("after fragment %d of %d: %d bytes", i+1, len(list), len(got))
			}
			if got == nil {
				continue
			}
			p, ok := parsePacket(got)
			w, _ := parsePacket(want)
			payload, _ := p.datagram()
			if wanted, _ := w.datagram(); !ok || p.src != x[0] || p.dst != x[1] || !bytes.Equal(payload, wanted) {
				t.Errorf("%v: another datagram than before", x)
			}
			if x[0].Addr().Is4() && checksum(0, got[:p.header]) != 0 {
				t.Error("the header's checksum is wrong: a kernel would not take the packet")
			}
		}
		if len(table.list) != 0 {
			t.Errorf("%d datagrams are left", len(table.list))
		}
	}
}

func TestFragmentsAreForgotten(t *testing.T) {
	list := cut(udpPacket(a4, b4, strings.Repeat("x", 3000)), 1480)
	for name, other := range map[string]func(*fragments){
		"overlap": func(table *fragments) { table.add(list[0], 0) },
		"time": func(table *fragments) {
			another := cut(udpPacket(b4, a4, strings.Repeat("y", 3000)), 1480)
			table.add(another[0], partialTime+time.Second)
		},
		"room": func(table *fragments) {
			for i := range maxPartial {
				f := bytes.Clone(list[0])
				binary.BigEndian.PutUint16(f[4:], uint16(i))
				table.add(f, 0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var table fragments
			table.add(list[0], 0)
			other(&table)
			for _, f := range list[1:] {
				if table.add(f, partialTime+time.Second) != nil {
					t.Error("put together")
				}
			}
		})
	}
}

func FuzzFragments(f *testing.F) {
	for _, x := range [][2]netip.AddrPort{{a4, b4}, {a6, b6}} {
		for _, b := range cut(udpPacket(x[0], x[1], strings.Repeat("x", 100)), 48) {
			f.Add(b, b)
		}
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var table fragments
		for _, raw := range [][]byte{a, b, a} {
			p, ok := parsePacket(raw)
			if !ok || p.transport != 0 {
				continue
			}
			if whole := table.add(p.b, 0); len(whole) > maxPacket {
				t.Errorf("a packet of %d bytes", len(whole))
			}
		}
	})
}
