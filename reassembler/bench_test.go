package reassembler_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"clipper/bus"
	"clipper/reassembler"
	"clipper/reassembler/internal/wire"
)

// bulk is an established connection of n segments of size bytes, each second
// one acknowledged.
func bulk(port uint16, n, size int) (frames []*bus.Record) {
	rng := rand.New(rand.NewPCG(1, 1))
	d := newDialogue(rng, port)
	d.end[0] = netip.MustParseAddrPort("10.0.0.2:1")
	d.end[0] = netip.AddrPortFrom(d.end[0].Addr(), port)
	d.end[1] = netip.MustParseAddrPort("192.0.2.1:443")
	d.data[1] = make([]byte, n*size)
	add := func(i int, flags uint8, from, to, ack int) {
		p := tcpPacket{src: d.end[i], dst: d.end[1-i], flags: flags, window: 0xffff, seq: d.isn[i] + 1 + uint32(from), ack: d.isn[1-i] + 1 + uint32(ack)}
		if i == 1 && to > from {
			p.payload = d.data[i][from:to]
		}
		_, frame := linkFrame("raw", ipPackets(p.src.Addr(), p.dst.Addr(), wire.ProtoTCP, 1, p.transport(), 0)[0])
		frames = append(frames, &bus.Record{Layer: bus.Frames, Type: wire.LinkRaw, Aux: uint32(len(frame)), Payload: frame})
	}
	add(0, wire.SYN, -1, -1, 0)
	add(1, wire.SYN|wire.ACK, -1, -1, 0)
	for i := range n {
		add(1, wire.ACK, i*size, (i+1)*size, 0)
		if i%2 == 1 {
			add(0, wire.ACK, 0, 0, (i+1)*size)
		}
	}
	return frames
}

// feed gives the frames to s as a driver does, in one record after the other.
func feed(s bus.Stage, frames []*bus.Record, index *uint64, emit func(*bus.Record)) {
	r := &bus.Record{Layer: bus.Frames}
	for _, f := range frames {
		*index++
		r.Type, r.Aux, r.Payload = f.Type, f.Aux, f.Payload
		r.Offset, r.Pos, r.Time = *index, *index/64+1, start+int64(*index)*1000
		s.Process(r, emit)
	}
}

// inBatch puts the payloads of the frames one after the other, as in a batch.
func inBatch(frames []*bus.Record) []*bus.Record {
	var batch []byte
	list := make([]bus.Record, len(frames))
	for i, f := range frames {
		batch = append(append(batch, make([]byte, bus.RecordLen)...), f.Payload...)
		list[i] = *f
	}
	out := make([]*bus.Record, len(frames))
	for i := range list {
		r := &list[i]
		batch = batch[bus.RecordLen:]
		r.Payload, batch = batch[:len(r.Payload):len(r.Payload)], batch[len(r.Payload):]
		out[i] = r
	}
	return out
}

// benchmark repeats the frames without the handshakes, each time moved on in
// the streams of the servers by step bytes.
func benchmark(b *testing.B, frames []*bus.Record, handshakes int, step uint32) {
	frames = inBatch(frames)
	s := reassembler.New("bench")
	var index, bytes uint64
	emit := func(r *bus.Record) { bytes += uint64(len(r.Payload)) }
	feed(s, frames, &index, emit)
	frames = frames[handshakes:]
	bytes = 0
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	for n := 0; n < b.N; {
		part := frames[:min(len(frames), b.N-n)]
		for _, f := range part {
			tcp := f.Payload[20:]
			number := tcp[4:] // the server's sequence number
			if tcp[3] == 443&0xff && tcp[2] == 443>>8 {
				number = tcp[8:] // acknowledged by the client
			}
			binary.BigEndian.PutUint32(number, binary.BigEndian.Uint32(number)+step)
		}
		feed(s, part, &index, emit)
		n += len(part)
	}
	used := cpuTime(b) - cpu
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(bytes)/used.Seconds()/1e6, "MB/cpu-s")
}

// cpuTime is the process's: on a shared machine it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBulk is one connection, an op is a packet.
func BenchmarkBulk(b *testing.B) { benchmark(b, bulk(40000, 1000, 1448), 2, 1000*1448) }

// BenchmarkSuperFrames has segments of 60 KB, as a capture before segmentation offload sees.
func BenchmarkSuperFrames(b *testing.B) { benchmark(b, bulk(40000, 40, 60000), 2, 40*60000) }

// BenchmarkManyConnections takes packets of 10,000 connections in turn.
func BenchmarkManyConnections(b *testing.B) {
	const conns = 10000
	var lists [conns][]*bus.Record
	for i := range lists {
		lists[i] = bulk(uint16(1000+i), 6, 200)
	}
	var frames []*bus.Record
	for j := range lists[0] {
		for i := range lists {
			frames = append(frames, lists[i][j])
		}
	}
	benchmark(b, frames, 2*conns, 6*200)
}

// BenchmarkConnections opens, uses and ends connections.
func BenchmarkConnections(b *testing.B) {
	frames := parseScript(b, "link raw\n"+exchange)
	benchmark(b, frames[:6], 0, 0)
}

// BenchmarkReorder has each fourth segment late.
func BenchmarkReorder(b *testing.B) {
	frames := bulk(40000, 1000, 1448)
	for i := 10; i+3 < len(frames); i += 4 {
		frames[i], frames[i+3] = frames[i+3], frames[i]
	}
	benchmark(b, frames, 2, 1000*1448)
}
