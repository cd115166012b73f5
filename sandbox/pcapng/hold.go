package pcapng

import (
	"net/netip"

	"clipper/bus"
)

// Limits of what is held back, and of what is remembered to know when.
const (
	secretsTime = 1e9     // ns of packet time that secrets are waited for
	processTime = 300e6   // and the process of a connection
	holdBytes   = 8 << 20 // of frames that wait
	holdRandoms = 1 << 14 // connections
)

type clientRandom [32]byte

// direction is one direction of a connection.
type direction struct {
	proto    byte
	src, dst netip.AddrPort
}

func (d direction) reverse() direction { return direction{d.proto, d.dst, d.src} }

// hold keeps frames back until the secrets and the processes of their
// connections are known.
type hold struct {
	queue []bus.Record // frames and losses; payloads lie in bytes, Pos is where
	bytes []byte

	secrets   map[clientRandom]int64 // waited for, until this packet time
	processes map[direction]int64
	first     int64 // no wait ends before this time

	hello map[direction]clientRandom // connections with a ClientHello and no ServerHello
	known map[clientRandom]labels    // secrets that have come
	asked map[direction]bool         // connections whose process was waited for
}

// labels are the secrets that open application data.
type labels uint8

const (
	clientTraffic labels = 1 << iota // CLIENT_TRAFFIC_SECRET_0
	serverTraffic                    // SERVER_TRAFFIC_SECRET_0
	allLabels     = clientTraffic | serverTraffic
)

// holding reports whether there is something to wait for.
func (h *hold) holding() bool { return len(h.secrets)+len(h.processes) > 0 }

// add keeps a record back.
func (h *hold) add(r *bus.Record) {
	c := *r
	c.Pos, c.Payload = uint64(len(h.bytes)), r.Payload[:len(r.Payload):len(r.Payload)]
	h.bytes = append(h.bytes, r.Payload...)
	h.queue = append(h.queue, c)
}

// clear gives up to wait and hands the records that waited to fn.
func (h *hold) clear(fn func(*bus.Record)) {
	clear(h.secrets)
	clear(h.processes)
	for i := range h.queue {
		r := &h.queue[i]
		r.Payload = h.bytes[r.Pos:][:len(r.Payload)]
		fn(r)
	}
	clear(h.queue)
	h.queue, h.bytes = h.queue[:0], h.bytes[:0]
	if cap(h.bytes) > 1<<20 {
		h.queue, h.bytes = nil, nil
	}
}

// expire ends what was waited for long enough, and reports whether that was
// all.
func (h *hold) expire(now int64) bool {
	if !h.holding() {
		return false
	}
	if len(h.bytes) > holdBytes {
		return true
	}
	if now < h.first {
		return false
	}
	h.first = now + secretsTime
	for k, until := range h.secrets {
		if now >= until {
			delete(h.secrets, k)
		} else {
			h.first = min(h.first, until)
		}
	}
	for k, until := range h.processes {
		if now >= until {
			delete(h.processes, k)
		} else {
			h.first = min(h.first, until)
		}
	}
	return !h.holding()
}

func (h *hold) until(time int64) int64 {
	if !h.holding() || time < h.first {
		h.first = time
	}
	return time
}

// look finds the hellos of TLS over TCP (RFC 8446, sections 4.1.2 and 5.1). Only
// segments that begin with one are looked at: that is how they are sent.
func (h *hold) look(p *packet, r *bus.Record) {
	b := r.Payload[p.payload:p.end]
	const handshake, clientHello, serverHello = 22, 1, 2
	const random, randomEnd = 11, 43 // offsets in the record of a ClientHello
	if p.proto != protoTCP || len(b) < 6 || b[0] != handshake || b[1] != 3 {
		return
	}
	way := direction{p.proto, p.src, p.dst}
	switch b[5] {
	case clientHello:
		if len(b) < randomEnd {
			return
		}
		if h.hello == nil || len(h.hello) >= holdRandoms {
			h.hello = map[direction]clientRandom{}
		}
		h.hello[way] = clientRandom(b[random:randomEnd])
	case serverHello:
		client, ok := h.hello[way.reverse()]
		if !ok {
			return
		}
		delete(h.hello, way.reverse())
		if h.known[client] == allLabels {
			return
		}
		until := h.until(r.Time + secretsTime)
		if h.secrets == nil {
			h.secrets = map[clientRandom]int64{}
		}
		h.secrets[client] = until
	}
}

// ask waits for the process of a connection, once.
func (h *hold) ask(p *packet, r *bus.Record) {
	way := direction{p.proto, p.src, p.dst}
	if h.asked[way] || h.asked[way.reverse()] {
		return
	}
	h.note(way)
	until := h.until(r.Time + processTime)
	if h.processes == nil {
		h.processes = map[direction]int64{}
	}
	h.processes[way] = until
}

func (h *hold) note(way direction) {
	if h.asked == nil || len(h.asked) >= maxSockets {
		h.asked = map[direction]bool{}
	}
	h.asked[way] = true
}

// answer notes that the process of a connection is known, and reports whether
// that was the last thing that was waited for.
func (h *hold) answer(way direction) bool {
	h.note(way) // there is nothing to ask any more
	if !h.holding() {
		return false
	}
	delete(h.processes, way)
	delete(h.processes, way.reverse())
	return !h.holding()
}

// learn notes a secret and reports whether it was the last thing that was
// waited for.
func (h *hold) learn(s *bus.TLSSecret) bool {
	if len(s.ClientRandom) != len(clientRandom{}) {
		return false
	}
	random := clientRandom(s.ClientRandom)
	if h.known == nil || len(h.known) >= holdRandoms {
		h.known = map[clientRandom]labels{}
	}
	switch s.Label {
	case "CLIENT_RANDOM":
		h.known[random] = allLabels
	case "CLIENT_TRAFFIC_SECRET_0":
		h.known[random] |= clientTraffic
	case "SERVER_TRAFFIC_SECRET_0":
		h.known[random] |= serverTraffic
	}
	if _, waited := h.secrets[random]; !waited || h.known[random] != allLabels {
		return false
	}
	delete(h.secrets, random)
	return !h.holding()
}
