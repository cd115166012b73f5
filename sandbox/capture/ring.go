//go:build linux

package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct tpacket_block_desc (linux/if_packet.h).
const (
	blockStatus = 8
	blockFrames = 12
	blockFirst  = 16
	blockLen    = 20
	blockSeq    = 24
)

var native = binary.NativeEndian

// Ring is a packet ring that Setup made, mapped into this process for a Reader.
type Ring struct {
	statuses
	fd      int
	mem     []byte
	page    *page
	pageFD  int
	backlog []byte
}

// Map maps a ring that Setup made, and the file of NewPage, for a Reader. It
// uses both descriptors but does not take them over.
func Map(packetFD, pageFD int) (*Ring, error) {
	p, err := openPage(pageFD)
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(packetFD, 0, BlockSize*Blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		p.unmap()
		return nil, fmt.Errorf("capture: map the packet ring: %w", err)
	}
	r := &Ring{statuses: statusesOf(unsafe.Pointer(&mem[0])), fd: packetFD, mem: mem, page: p, pageFD: pageFD}
	r.backlog, err = unix.Mmap(pageFD, pageSize, int(p.backlog)*BlockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("capture: map the backlog: %w", err)
	}
	return r, nil
}

// Close gives the mappings back.
func (r *Ring) Close() error {
	err := errors.Join(unix.Munmap(r.mem), r.page.unmap())
	if r.backlog != nil {
		err = errors.Join(err, unix.Munmap(r.backlog))
	}
	return err
}

func (r *Ring) block(seq uint64) []byte {
	i := int((seq - 1) % Blocks)
	return r.mem[i*BlockSize : (i+1)*BlockSize : (i+1)*BlockSize]
}

// waits counts the blocks that wait to be read.
func (r *Ring) waits() int { return r.fill(r.page.moved.Load()) }

// Stats are the sums over the whole life of a ring.
type Stats struct {
	Packets uint64 // the kernel wanted to record, the dropped ones included
	Drops   uint64 // of them were lost because the ring was full
	Freezes uint64 // times the ring became full
}

// Stats returns the sums as of the reader's last query.
func (r *Ring) Stats() Stats { return r.page.stats() }

func (p *page) stats() Stats { return Stats{p.packets.Load(), p.drops.Load(), p.freezes.Load()} }

// queryStats adds the kernel's counters, which the query sets to zero. Only the
// reader may do that.
func (r *Ring) queryStats() error {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("capture: PACKET_STATISTICS: %w", err)
	}
	r.page.packets.Add(uint64(s.Packets))
	r.page.drops.Add(uint64(s.Drops))
	r.page.freezes.Add(uint64(s.Freeze_q_cnt))
	return nil
}
