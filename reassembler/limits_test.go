package reassembler_test

import (
	"encoding/json"
	"net/netip"
	"runtime"
	"testing"

	"clipper/bus"
	"clipper/reassembler"
	"clipper/reassembler/internal/wire"
)

func tcpFrame(p tcpPacket, index int) *bus.Record {
	_, frame := linkFrame("raw", ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoTCP, 1, p.transport(), 0)[0])
	return &bus.Record{Layer: bus.Frames, Type: wire.LinkRaw, Offset: uint64(index), Time: start + int64(index)*1000,
		Aux: uint32(len(frame)), Payload: frame}
}

// A flood of connections that never end stays bounded, and does not drive out
// one that has a handshake.
func TestOpenLimit(t *testing.T) {
	const limit, flood = 1 << 16, 150_000
	server := netip.MustParseAddrPort("192.0.2.1:80")
	s := reassembler.New("test")
	open, ended, most := 0, map[bus.EndReason]int{}, 0
	var first bus.ConnID
	emit := func(r *bus.Record) {
		switch r.Type {
		case bus.Open:
			if open++; first == 0 {
				first = r.Conn
			}
			most = max(most, open)
		case bus.End:
			open--
			var e bus.ConnEnd
			if err := json.Unmarshal(r.Payload, &e); err != nil {
				t.Fatal(err)
			}
			ended[e.Reason]++
			if r.Conn == first && e.Reason != bus.EndCapture {
				t.Errorf("the established connection ended: %s", e.Reason)
			}
		}
	}
	for _, f := range parseScript(t, "> S\n< SA\n> A \"x\"\n") {
		s.Process(f, emit)
	}
	for i := range flood {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), uint16(1000+i>>16))
		p := tcpPacket{src: src, dst: server, flags: wire.SYN, seq: uint32(i)}
		if i%2 == 1 { // joined in the middle
			p.flags, p.payload = wire.ACK, []byte("hello")
		}
		s.Process(tcpFrame(p, i+10), emit)
	}
	if most > limit || ended[bus.EndLimit] != flood+1-limit {
		t.Errorf("%d open at once, %v ended", most, ended)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB in use", m.HeapAlloc>>20)
	}
	s.Process(&bus.Record{Layer: bus.Frames, Type: bus.EOS}, emit)
	if open != 0 {
		t.Errorf("%d still open", open)
	}
	if s.Low() != bus.None {
		t.Error("Low after the end")
	}
}

// Segments behind a hole that nobody fills or acknowledges stay bounded, for
// each connection and in all.
func TestHeldLimit(t *testing.T) {
	const each, all, size = 8 << 20, 64 << 20, 1400
	server := netip.MustParseAddrPort("192.0.2.1:80")
	s := reassembler.New("test")
	held := map[bus.ConnID]int{}
	total := 0
	var current bus.ConnID
	emit := func(r *bus.Record) {
		switch r.Type {
		case bus.Open:
			current = r.Conn
		case bus.Data:
			held[r.Conn] -= len(r.Payload)
			total -= len(r.Payload)
		}
	}
	index := 0
	for i := range 30 {
		src := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i))
		send := func(p tcpPacket) {
			p.src, p.dst = src, server
			s.Process(tcpFrame(p, index), emit)
			index++
		}
		send(tcpPacket{flags: wire.SYN})
		send(tcpPacket{flags: wire.ACK, seq: 1, payload: []byte("a")})
		for j := range (6 + i%4) << 20 / size {
			held[current] += size
			total += size
			send(tcpPacket{flags: wire.ACK, seq: 1000 + uint32(j*size), payload: make([]byte, size)})
			if held[current] > each || total > all {
				t.Fatalf("connection %d holds %d bytes of %d", i, held[current], total)
			}
		}
	}
	if total < all/2 {
		t.Errorf("only %d bytes were held: the test shows little", total)
	}
}

// Ended connections are forgotten in packet time.
func TestTombstonesExpire(t *testing.T) {
	s := reassembler.New("test")
	emit := func(*bus.Record) {}
	frames := parseScript(t, exchange)
	frames = frames[:len(frames)-1]
	for i, f := range frames {
		f.Pos = uint64(i + 1)
		s.Process(f, emit)
	}
	if low := s.Low(); low != 1 {
		t.Errorf("Low is %d while ended connections are remembered", low)
	}
	late := *frames[0]
	for i := range 3 {
		late.Time, late.Pos, late.Payload = late.Time+int64(4e11), uint64(100+i), []byte{0}
		s.Process(&late, emit)
	}
	if low := s.Low(); low != bus.None {
		t.Errorf("Low is %d when all is forgotten", low)
	}
}
