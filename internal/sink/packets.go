package sink

import (
	"errors"
	"os"
	"time"

	"clipper/bus"
	"clipper/internal/term"
	"clipper/sandbox/pcapng"
)

// packetsIdle is how long the packet file may lag behind quiet traffic.
const packetsIdle = time.Second

// packets is a packet file: frames, secrets and processes.
type packets struct {
	option string
	file   *os.File
	w      *pcapng.Writer
	size   int64 // bytes written
	flush  *time.Timer
	limit  int64 // bytes; 0: none
	failed bool
	full   bool // nothing is added any more: the limit is reached, or it cannot be written
}

// openPackets makes a packet file. live frames are those of the capture in
// the sandbox, whose interfaces are known.
func openPackets(option, path string, live bool, limit int64) (*packets, error) {
	f, err := Create(option, path, 0o600) // it holds secrets
	if err != nil {
		return nil, err
	}
	o := pcapng.Options{Directed: live}
	if live {
		o.InterfaceName = InterfaceName
	}
	p := &packets{option: option, file: f, limit: limit}
	if p.w, err = pcapng.NewWriter(p, o); err != nil {
		closeFile(f)
		return nil, named(option, err)
	}
	return p, nil
}

// Write implements io.Writer, for w.
func (p *packets) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	return n, err
}

// InterfaceName names the interfaces of the sandbox's capture.
func InterfaceName(_ uint64, linkType uint16) string {
	const linkEthernet = 1 // LINKTYPE_ETHERNET
	if linkType == linkEthernet {
		return "lo"
	}
	return "tun0"
}

// packet adds a record to the packet files; s.mu is held.
func (s *Sink) packet(r *bus.Record) {
	for _, p := range s.packets {
		s.addPacket(p, r)
	}
}

func (s *Sink) addPacket(p *packets, r *bus.Record) {
	if p.full {
		return
	}
	if s.failPackets(p, p.w.Write(r)) {
		return
	}
	if p.limit > 0 && p.size >= p.limit {
		p.full = true
		if s.failPackets(p, p.w.Flush()); s.o.Terminal != nil {
			s.o.Terminal.Say("what is kept has reached %s (--keep-max): the rest is shown, but not kept", term.Size(uint64(p.limit)))
		}
		return
	}
	if p.flush == nil {
		p.flush = time.AfterFunc(packetsIdle, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			p.flush = nil
			if !s.closed {
				s.failPackets(p, p.w.Flush())
			}
		})
	}
}

// failPackets notes the first error of a packet file, after which nothing is added.
func (s *Sink) failPackets(p *packets, err error) bool {
	if err != nil && !p.failed {
		p.failed, p.full = true, true
		s.fail(p.option, err)
	}
	return err != nil
}

func (p *packets) close() error { return errors.Join(p.w.Close(), closeFile(p.file)) }
