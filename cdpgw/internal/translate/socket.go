package translate

import (
	"net/netip"

	"clipper/bus"
)

// sockets remembers which process opened which transport connection.
type sockets struct {
	opened  ring[socketKey, socketOwner]
	blocked ring[socketKey, int64] // Unix ns
}

type socketKey struct {
	transport     string
	local, remote netip.AddrPort
}

type socketOwner struct {
	pid  int
	time int64
}

func newSockets() sockets {
	return sockets{newRing[socketKey, socketOwner](maxSockets), newRing[socketKey, int64](maxBlocked)}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func (s *sockets) add(e *bus.ProcEvent) {
	if e.PID != 0 {
		s.opened.put(socketKey{e.Transport, unmap(e.Local), unmap(e.Remote)}, socketOwner{e.PID, e.Time})
	}
}

// block notes that a connection was refused or cut because of its host.
func (s *sockets) block(e *bus.ProcEvent) {
	s.blocked.put(socketKey{e.Transport, unmap(e.Local), unmap(e.Remote)}, e.Time)
}

// isBlocked reports whether c was refused or cut because of its host.
func (s *sockets) isBlocked(c *bus.Connection) bool {
	at, ok := s.blocked.get(socketKey{c.Transport, unmap(c.Client), unmap(c.Server)})
	return ok && at >= c.Opened-socketSkew
}

// socketSkew is how much earlier than the first packet the record of a socket
// may be: their clocks are read in different processes. An older record is of
// an earlier connection between the same ports.
const socketSkew = int64(1e9)

// find is the pid that opened c, or accepted it, or 0.
func (s *sockets) find(c *bus.Connection) int {
	if !c.Client.IsValid() {
		return 0
	}
	client, server := unmap(c.Client), unmap(c.Server)
	for _, k := range []socketKey{{c.Transport, client, server}, {c.Transport, server, client}} {
		if o, ok := s.opened.get(k); ok && (c.Opened == 0 || o.time == 0 || o.time >= c.Opened-socketSkew) {
			return o.pid
		}
	}
	return 0
}
