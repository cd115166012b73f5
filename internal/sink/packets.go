package sink

import (
	"fmt"
	"os"
	"time"

	"clipper/bus"
	"clipper/sandbox/pcapng"
)

// packetsIdle is how long the packet file may lag behind quiet traffic.
const packetsIdle = time.Second

// packets is the packet file: frames, secrets and processes.
type packets struct {
	file  *os.File
	w     *pcapng.Writer
	flush *time.Timer
}

// openPackets makes the packet file. live frames are those of the capture in
// the sandbox, whose interfaces are known.
func openPackets(path string, live bool) (*packets, error) {
	f, err := create(path, 0o600) // it holds secrets
	if err != nil {
		return nil, fmt.Errorf("-w: %w", err)
	}
	o := pcapng.Options{Directed: live}
	if live {
		o.InterfaceName = InterfaceName
	}
	w, err := pcapng.NewWriter(f, o)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("-w: %w", err)
	}
	return &packets{file: f, w: w}, nil
}

// InterfaceName names the interfaces of the sandbox's capture.
func InterfaceName(_ uint64, linkType uint16) string {
	const linkEthernet = 1 // LINKTYPE_ETHERNET
	if linkType == linkEthernet {
		return "lo"
	}
	return "tun0"
}

// packet adds a record to the packet file; s.mu is held.
func (s *Sink) packet(r *bus.Record) {
	p := s.packets
	if p == nil {
		return
	}
	s.note(p.w.Write(r))
	if p.flush == nil {
		p.flush = time.AfterFunc(packetsIdle, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			p.flush = nil
			if !s.closed {
				s.note(p.w.Flush())
			}
		})
	}
}

func (p *packets) close() error {
	err := p.w.Close()
	if e := p.file.Close(); err == nil {
		err = e
	}
	return err
}
