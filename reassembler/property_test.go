package reassembler_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

var seeds = flag.Uint64("seeds", 30, "random cases of each property test")

// dialogue is a TCP connection with random data, of which captures can be made.
type dialogue struct {
	end  [2]netip.AddrPort
	isn  [2]uint32
	data [2][]byte
}

func newDialogue(rng *rand.Rand, port uint16) *dialogue {
	d := &dialogue{isn: [2]uint32{rng.Uint32(), rng.Uint32()}}
	if rng.IntN(4) == 0 {
		d.isn[0] = -uint32(rng.IntN(3000)) // wraps
	}
	client, server := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.0.2.1")
	if rng.IntN(3) == 0 {
		client, server = netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1")
	}
	d.end = [2]netip.AddrPort{netip.AddrPortFrom(client, port), netip.AddrPortFrom(server, 80)}
	for i := range d.data {
		d.data[i] = make([]byte, rng.IntN(6000))
		for j := range d.data[i] {
			d.data[i][j] = byte(rng.Uint32())
		}
	}
	return d
}

// segment is the frame of one segment of the sender i; the numbers are offsets
// after the SYN.
func (d *dialogue) segment(rng *rand.Rand, i int, flags uint8, from, to, ack int) *bus.Record {
	p := tcpPacket{src: d.end[i], dst: d.end[1-i], flags: flags, window: 0xffff,
		seq: d.isn[i] + 1 + uint32(from), ack: d.isn[1-i] + 1 + uint32(ack)}
	if to > from {
		p.payload = d.data[i][from:to]
	}
	ip := ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoTCP, 1, p.transport(), 0)[0]
	link, frame := linkFrame(links[rng.IntN(len(links))], ip)
	return &bus.Record{Layer: bus.Frames, Type: bus.Type(link), Aux: uint32(len(frame)), Payload: frame}
}

// frames are the SYN and the rest of the dialogue in a legal order: random
// segments, some of them again with other boundaries, and acknowledgments.
func (d *dialogue) frames(rng *rand.Rand) (syn *bus.Record, rest []*bus.Record) {
	add := func(i int, flags uint8, from, to, ack int) {
		rest = append(rest, d.segment(rng, i, flags, from, to, ack))
		if rng.IntN(10) == 0 {
			rest = append(rest, rest[rng.IntN(len(rest))])
		}
	}
	syn = d.segment(rng, 0, wire.SYN, -1, -1, 0)
	add(1, wire.SYN|wire.ACK, -1, -1, 0)
	var sent [2]int
	for sent[0] < len(d.data[0]) || sent[1] < len(d.data[1]) {
		i := rng.IntN(2)
		from, to := sent[i], min(sent[i]+1+rng.IntN(900), len(d.data[i]))
		if to == from {
			continue
		}
		sent[i] = to
		add(i, wire.ACK, from, to, sent[1-i])
		if rng.IntN(5) == 0 {
			a := rng.IntN(to)
			add(i, wire.ACK, a, a+1+rng.IntN(to-a), sent[1-i])
		}
		if rng.IntN(2) == 0 {
			add(1-i, wire.ACK, sent[1-i], sent[1-i], sent[i])
		}
	}
	add(0, wire.FIN|wire.ACK, len(d.data[0]), len(d.data[0]), len(d.data[1]))
	add(1, wire.FIN|wire.ACK, len(d.data[1]), len(d.data[1]), len(d.data[0])+1)
	return syn, rest
}

// number gives frames their index and times step apart.
func number(frames []*bus.Record, step time.Duration) []*bus.Record {
	out := make([]*bus.Record, len(frames))
	for i, f := range frames {
		c := *f
		c.Offset, c.Time = uint64(i), start+int64(i)*int64(step)
		out[i] = &c
	}
	return out
}

// Any order, duplication and segmentation of the frames after the SYN gives
// the same streams.
func TestAnyOrder(t *testing.T) {
	for seed := range *seeds * 10 {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := newDialogue(rng, 40000)
		syn, rest := d.frames(rng)
		if seed%2 == 0 {
			rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		} else { // nearby only
			for i := range rest {
				j := min(i+rng.IntN(8), len(rest)-1)
				rest[i], rest[j] = rest[j], rest[i]
			}
		}
		frames := number(slices.Concat([]*bus.Record{syn}, rest), time.Millisecond)
		frames = append(frames, &bus.Record{Layer: bus.Frames, Type: bus.EOS})
		records := run(frames)
		checkLife(t, records)
		var got [2]bytes.Buffer
		var fins, ends int
		for _, r := range records {
			switch r.Type {
			case bus.Data:
				got[r.Dir].Write(r.Payload)
				if r.Flags != 0 {
					t.Errorf("seed %d: flags %v", seed, r.Flags)
				}
			case bus.Gap:
				t.Errorf("seed %d: gap of %d at %d", seed, r.Aux, r.Offset)
			case bus.Fin:
				fins++
			case bus.End:
				ends++
			}
		}
		for i := range got {
			if !bytes.Equal(got[i].Bytes(), d.data[i]) {
				t.Errorf("seed %d: direction %d: %d bytes, want %d", seed, i, got[i].Len(), len(d.data[i]))
			}
		}
		if fins != 2 || ends != 1 {
			t.Errorf("seed %d: %d fins, %d ends", seed, fins, ends)
		}
		if t.Failed() {
			t.Fatal(transcript(records))
		}
	}
}

// Lost frames become gaps: what is there is right and in its place.
func TestAnyLoss(t *testing.T) {
	for seed := range *seeds * 10 {
		rng := rand.New(rand.NewPCG(seed, 2))
		d := newDialogue(rng, 40000)
		syn, rest := d.frames(rng)
		kept := []*bus.Record{syn, rest[0]}
		for _, f := range rest[1:] {
			if rng.IntN(5) > 0 {
				kept = append(kept, f)
			}
		}
		frames := append(number(kept, 300*time.Millisecond), &bus.Record{Layer: bus.Frames, Type: bus.EOS})
		records := run(frames)
		checkLife(t, records)
		for _, r := range records {
			if r.Type == bus.Data && !bytes.Equal(r.Payload, d.data[r.Dir][r.Offset:][:len(r.Payload)]) {
				t.Fatalf("seed %d: wrong bytes at %d", seed, r.Offset)
			}
		}
	}
}

// traffic is a mixture of everything, split into messages: connections with
// losses, repetitions, resets and reused ports, partial ones, datagrams,
// fragments, and pauses longer than every limit.
func traffic(rng *rand.Rand, rounds int) (frames []*bus.Record) {
	var pending [][]*bus.Record
	var used []uint16 // ports of pending
	pause := time.Duration(0)
	now := start
	emit := func(f *bus.Record) {
		c := *f
		now += int64(pause) + rng.Int64N(int64(50*time.Millisecond))
		pause = 0
		c.Offset, c.Time = uint64(len(frames)), now
		frames = append(frames, &c)
	}
	for round := range rounds {
		kind := rng.IntN(9)
		port := uint16(40000 + rng.IntN(6))
		if slices.Contains(used, port) {
			// Two ends have one connection on a five-tuple at a time.
			port = uint16(41000 + round)
		}
		d := newDialogue(rng, port)
		d.isn[0] = rng.Uint32() // far from those of others on the five-tuple
		for i := range d.data {
			d.data[i] = d.data[i][:len(d.data[i])/(1+rng.IntN(20))]
		}
		syn, rest := d.frames(rng)
		list := append([]*bus.Record{syn}, rest...)
		switch kind {
		case 0: // joined in the middle
			list = list[rng.IntN(len(list)):]
		case 1: // lossy
			list = slices.DeleteFunc(list, func(*bus.Record) bool { return rng.IntN(4) == 0 })
		case 2: // reset
			i := rng.IntN(2)
			at := rng.IntN(len(d.data[i]) + 1)
			list = append(list[:1+rng.IntN(len(list))], d.segment(rng, i, wire.RST|wire.ACK, at, at, 0))
		case 3: // refused, perhaps repeatedly
			list = list[:0]
			for range 1 + rng.IntN(3) {
				list = append(list, syn, d.segment(rng, 1, wire.RST|wire.ACK, -1, -1, 0))
			}
		case 4: // never ends
			list = list[:1+rng.IntN(len(list))]
		case 5: // datagrams, some in fragments
			list = list[:0]
			for range 1 + rng.IntN(6) {
				i, size := rng.IntN(2), 0
				if rng.IntN(2) == 0 {
					size = 96
				}
				b := udpHeader(d.end[i], d.end[1-i], pattern(rng.IntN(400)))
				for _, ip := range ipPackets(d.end[i].Addr(), d.end[1-i].Addr(), wire.ProtoUDP, rng.Uint32N(1<<16), b, size) {
					if rng.IntN(12) > 0 {
						link, frame := linkFrame("ethernet", ip)
						list = append(list, &bus.Record{Layer: bus.Frames, Type: bus.Type(link), Aux: uint32(len(frame)), Payload: frame})
					}
				}
			}
		case 6: // unreachable
			p := tcpPacket{src: d.end[0], dst: d.end[1], flags: wire.SYN, seq: d.isn[0]}
			quoted := ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoTCP, 1, p.transport(), 0)[0]
			proto, head := uint8(wire.ProtoICMP), []byte{3, 1, 0, 0, 0, 0, 0, 0}
			if p.src.Addr().Is6() {
				proto, head[0] = wire.ProtoICMPv6, 1
			}
			router := p.dst.Addr().Next()
			link, frame := linkFrame("raw", ipPackets(router, p.src.Addr(), proto, 1, append(head, quoted...), 0)[0])
			list = []*bus.Record{syn, syn, {Layer: bus.Frames, Type: bus.Type(link), Aux: uint32(len(frame)), Payload: frame}}
		}
		pending, used = append(pending, list), append(used, port)
		for range rng.IntN(40) {
			if len(pending) == 0 {
				break
			}
			i := rng.IntN(len(pending))
			if len(pending[i]) == 0 {
				pending, used = slices.Delete(pending, i, i+1), slices.Delete(used, i, i+1)
				continue
			}
			emit(pending[i][0])
			pending[i] = pending[i][1:]
		}
		if round%5 == 0 {
			pause = []time.Duration{0, time.Second, 40 * time.Second, 90 * time.Second, 3 * time.Minute, 3 * time.Hour}[rng.IntN(6)]
		}
	}
	for _, list := range pending {
		for _, f := range list {
			emit(f)
		}
	}
	// Messages of some frames each, numbered from 1.
	pos := uint64(0)
	for i := 0; i < len(frames); {
		pos++
		for n := 1 + rng.IntN(6); n > 0 && i < len(frames); n-- {
			frames[i].Pos = pos
			i++
		}
	}
	return append(frames, &bus.Record{Layer: bus.Frames, Type: bus.EOS, Pos: pos + 1, Offset: uint64(len(frames)), Time: now})
}

func equalRecords(a, b *bus.Record) bool {
	return a.Layer == b.Layer && a.Type == b.Type && a.Dir == b.Dir && a.Flags == b.Flags && a.Conn == b.Conn && a.Offset == b.Offset &&
		a.Time == b.Time && a.Aux == b.Aux && bytes.Equal(a.Payload, b.Payload)
}

func describeRecord(r *bus.Record) string {
	return fmt.Sprintf("%v type %d conn %v dir %d offset %d aux %d pos %d time %v %.60q", r.Layer, r.Type, r.Conn, r.Dir, r.Offset, r.Aux, r.Pos,
		time.Duration(r.Time-start), r.Payload)
}
