package pcapng

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"clipper/bus"
)

// Limits of what the Writer remembers.
const (
	maxProcesses = 1 << 14
	maxSockets   = 1 << 16
)

// processes knows which process a connection belongs to, from process events.
type processes struct {
	names   map[int]string       // by process id
	sockets map[direction]socket // from local to remote
	written map[int]int          // number of the process block, by process id
	count   int                  // process blocks in the file
	fresh   []byte               // process blocks to add before the frame
}

type socket struct {
	pid       int
	commented bool // a packet of it carries the comment
}

// learn takes what events tell of processes and their sockets. ok means that it
// was the socket of a connection.
func (p *processes) learn(e *bus.ProcEvent) (connection direction, ok bool) {
	switch e.Type {
	case bus.ProcExec:
		if p.names == nil || len(p.names) >= maxProcesses {
			p.names = map[int]string{}
		}
		p.names[e.PID] = filepath.Base(e.Exe)
		delete(p.written, e.PID) // another program: another block
	case bus.ProcSocket:
		if e.PID <= 0 || !e.Local.IsValid() || !e.Remote.IsValid() {
			return connection, false
		}
		proto := byte(protoTCP)
		if e.Transport == "udp" {
			proto = protoUDP
		}
		if p.sockets == nil || len(p.sockets) >= maxSockets {
			p.sockets = map[direction]socket{}
		}
		connection = direction{proto, unmap(e.Local), unmap(e.Remote)}
		p.sockets[connection] = socket{pid: e.PID}
		return connection, true
	}
	return connection, false
}

// of returns the number of the process block for a packet, -1 when its process
// is not known, and a comment for the first packet of a connection.
func (p *processes) of(k *packet) (block int, comment string) {
	if len(p.sockets) == 0 {
		return -1, ""
	}
	key := direction{k.proto, k.src, k.dst}
	s, ok := p.sockets[key]
	if !ok {
		key = key.reverse()
		if s, ok = p.sockets[key]; !ok {
			return -1, ""
		}
	}
	block, ok = p.written[s.pid]
	if !ok {
		block = p.add(s.pid)
	}
	if !s.commented {
		s.commented = true
		p.sockets[key] = s
		comment = fmt.Sprintf("process %d %s", s.pid, p.names[s.pid])
	}
	return block, comment
}

// add makes the process block of a process. Wireshark knows it as Darwin
// Process Event Block: process id, then options.
func (p *processes) add(pid int) int {
	if p.written == nil {
		p.written = map[int]int{}
	}
	start := len(p.fresh)
	b := beginBlock(p.fresh, blockProcess)
	b = le.AppendUint32(b, uint32(pid))
	if name := p.names[pid]; name != "" {
		b = appendText(b, optProcessName, name)
	}
	p.fresh = endBlock(appendEnd(b), start)
	p.written[pid] = p.count
	p.count++
	return p.count - 1
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// appendNew appends the process blocks that were made since the last call.
func (p *processes) appendNew(b []byte) []byte {
	b = append(b, p.fresh...)
	p.fresh = p.fresh[:0]
	return b
}
