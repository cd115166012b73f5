package reassembler

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"clipper/bus"
	"clipper/reassembler/internal/wire"
)

// endpoint is one end of a flow.
type endpoint struct {
	addr wire.Addr
	port uint16
}

func (e *endpoint) addrPort(v6 bool) netip.AddrPort {
	a := netip.AddrFrom16(e.addr)
	if !v6 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, e.port)
}

// flowKey is a five-tuple without direction: a is the lower end.
type flowKey struct {
	a, b  endpoint
	proto uint8
	v6    bool
}

// newFlowKey also says whether the sender is b.
func newFlowKey(p *wire.Packet, srcPort, dstPort uint16) (k flowKey, fromB bool) {
	c := bytes.Compare(p.Src[:], p.Dst[:])
	k.proto, k.v6 = p.Proto, p.V6
	if c < 0 || c == 0 && srcPort <= dstPort {
		k.a, k.b = endpoint{p.Src, srcPort}, endpoint{p.Dst, dstPort}
		return k, false
	}
	k.a, k.b = endpoint{p.Dst, dstPort}, endpoint{p.Src, srcPort}
	return k, true
}

func (k *flowKey) flow(clientIsB bool) bus.Flow {
	f := bus.Flow{Transport: "tcp", Client: k.a.addrPort(k.v6), Server: k.b.addrPort(k.v6)}
	if k.proto == wire.ProtoUDP {
		f.Transport = "udp"
	}
	if clientIsB {
		f.Client, f.Server = f.Server, f.Client
	}
	return f
}

// connID is FNV-1a over the session, the five-tuple and the index of the first
// frame, with the finalizer of SplitMix64 so that every bit is good.
func connID(session string, k *flowKey, frame uint64) bus.ConnID {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	add := func(b byte) { h = (h ^ uint64(b)) * prime }
	for i := range len(session) {
		add(session[i])
	}
	add(0)
	var tail [8]byte
	for _, e := range [...]*endpoint{&k.a, &k.b} {
		for _, b := range e.addr {
			add(b)
		}
		add(byte(e.port >> 8))
		add(byte(e.port))
	}
	add(k.proto)
	binary.BigEndian.PutUint64(tail[:], frame)
	for _, b := range tail {
		add(b)
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	h ^= h >> 31
	return bus.ConnID(max(h, 1)) // 0 means none
}
