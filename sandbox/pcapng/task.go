package pcapng

import "clipper/bus"

// task is a process that a section names.
type task struct {
	pid  int
	name string
	told bool
}

// process reads a process block, as Apple's tcpdump and the Writer write it:
// the process id, then options.
func (s *sections) process(b []byte) {
	if len(b) < 4 || len(s.tasks) >= maxProcesses {
		return
	}
	t := task{pid: int(int32(s.order.Uint32(b)))}
	for o, rest, ok := parseOption(s.order, b[4:]); ok; o, rest, ok = parseOption(s.order, rest) {
		if o.code == optProcessName {
			t.name = o.text()
		}
	}
	s.tasks = append(s.tasks, t)
}

// tellProcess emits what the process option of a frame says, if it is new.
func (s *sections) tellProcess(t *task, frame *bus.Record) {
	p, ok := parsePacket(uint16(frame.Type), frame.Payload)
	if !ok {
		return
	}
	local, remote := p.src, p.dst
	way := direction{p.proto, p.src, p.dst}
	if s.seen[way] || s.seen[way.reverse()] {
		return
	}
	if s.seen == nil || len(s.seen) >= maxSockets {
		s.seen = map[direction]bool{}
	}
	s.seen[way] = true
	if frame.Flags&bus.Outgoing == 0 && s.inbound {
		local, remote = remote, local
	}
	if !t.told {
		t.told = true
		s.tell(frame.Time, &bus.ProcEvent{Type: bus.ProcExec, PID: t.pid, Exe: t.name})
	}
	transport := "tcp"
	if p.proto == protoUDP {
		transport = "udp"
	}
	s.tell(frame.Time, &bus.ProcEvent{Type: bus.ProcSocket, PID: t.pid, Transport: transport, Local: local, Remote: remote})
}

func (s *sections) tell(time int64, e *bus.ProcEvent) {
	e.Time = time
	s.pending = append(s.pending, &bus.Record{Layer: bus.Proc, Type: bus.Line, Time: time, Event: e})
}
