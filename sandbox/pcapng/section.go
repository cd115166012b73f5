package pcapng

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"

	"clipper/bus"
)

// Limits of what a reader remembers of a file.
const (
	maxInterfaces = 1 << 16
	maxNames      = 1 << 16
	maxSecrets    = 1 << 16 // of one block
)

// sections reads the blocks of a pcapng file.
type sections struct {
	*Reader
	order binary.ByteOrder
	first int // index in Interfaces of the section's interface 0
	tasks []task
	seen  map[direction]bool // connections whose process has been told

	inbound bool // the packet in hand came in, says its block
}

var (
	errBlockLength = errors.New("impossible block length")
	errByteOrder   = errors.New("impossible byte-order magic")
)

// next reads one block. The record is nil if the block holds none.
func (s *sections) next() (*bus.Record, error) {
	start := s.src.offset
	head := s.src.peek(12)
	if len(head) == 0 {
		_, err := s.src.next(1)
		return nil, s.atBoundary(start, err)
	}
	if len(head) < 12 {
		return nil, s.src.damage(start, io.ErrUnexpectedEOF)
	}
	// A section header is recognized whatever the byte order was before.
	typ := binary.BigEndian.Uint32(head)
	if typ == blockSection {
		switch {
		case binary.LittleEndian.Uint32(head[8:]) == byteOrderMagic:
			s.order = binary.LittleEndian
		case binary.BigEndian.Uint32(head[8:]) == byteOrderMagic:
			s.order = binary.BigEndian
		default:
			return nil, s.src.damage(start, errByteOrder)
		}
	} else {
		typ = s.order.Uint32(head)
	}
	length := s.order.Uint32(head[4:])
	if length < 12 || length%4 != 0 {
		return nil, s.src.damage(start, fmt.Errorf("%w: %d", errBlockLength, length))
	}
	if length > maxBlock {
		if holdsPackets(typ) {
			return nil, s.src.damage(start, fmt.Errorf("%w: %d", errBlockLength, length))
		}
		if err := s.src.skip(int64(length)); err != nil {
			return nil, s.src.damage(start, err)
		}
		return nil, nil
	}
	b, err := s.src.next(int(length))
	if err != nil {
		return nil, s.src.damage(start, err)
	}
	if s.order.Uint32(b[length-4:]) != length {
		return nil, s.src.damage(start, fmt.Errorf("%w: %d before the block and %d after it", errBlockLength, length, s.order.Uint32(b[length-4:])))
	}
	r, err := s.block(typ, b[8:length-4])
	if err != nil {
		return nil, s.src.damage(start, err)
	}
	return r, nil
}

func holdsPackets(typ uint32) bool {
	return typ == blockSection || typ == blockInterface || typ == blockPacket || typ == blockSimple || typ == blockEnhanced
}

// block reads the body of a block. Types that are not known are passed over.
func (s *sections) block(typ uint32, b []byte) (*bus.Record, error) {
	switch typ {
	case blockSection:
		return nil, s.header(b)
	case blockInterface:
		return nil, s.describe(b)
	case blockEnhanced:
		return s.enhanced(b)
	case blockPacket:
		return s.obsolete(b)
	case blockSimple:
		return s.simple(b)
	case blockSecrets:
		s.secrets(b)
	case blockNames:
		s.resolve(b)
	case blockProcess:
		s.process(b)
	}
	return nil, nil
}

var errShortBlock = errors.New("block is too short")

// header begins a section (section 4.1).
func (s *sections) header(b []byte) error {
	if len(b) < 16 {
		return errShortBlock
	}
	if major := s.order.Uint16(b[4:]); major != 1 {
		return fmt.Errorf("version %d.%d of the format is not known", major, s.order.Uint16(b[6:]))
	}
	s.first, s.tasks, s.seen = len(s.interfaces), nil, nil
	return nil
}

// describe reads an Interface Description Block (section 4.2).
func (s *sections) describe(b []byte) error {
	if len(b) < 8 {
		return errShortBlock
	}
	if len(s.interfaces) >= maxInterfaces {
		return fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	ifc := Interface{LinkType: s.order.Uint16(b), SnapLen: s.order.Uint32(b[4:])}
	for o, rest, ok := parseOption(s.order, b[8:]); ok; o, rest, ok = parseOption(s.order, rest) {
		switch {
		case o.code == optIfName:
			ifc.Name = o.text()
		case o.code == optIfDescription:
			ifc.Description = o.text()
		case o.code == optIfResolution && len(o.value) >= 1:
			ifc.clock.resolution, ifc.clock.set = o.value[0], true
		case o.code == optIfOffset && len(o.value) >= 8:
			ifc.clock.offset = int64(s.order.Uint64(o.value))
		}
	}
	s.interfaces = append(s.interfaces, ifc)
	return nil
}

// lookup returns the index in Interfaces of an interface of the section.
func (s *sections) lookup(id uint32) (int, error) {
	if uint64(id) >= uint64(len(s.interfaces)-s.first) {
		return 0, fmt.Errorf("packet of interface %d, which was not described", id)
	}
	return s.first + int(id), nil
}

var errCaptured = errors.New("packet is longer than its block")

// enhanced reads an Enhanced Packet Block (section 4.3).
func (s *sections) enhanced(b []byte) (*bus.Record, error) {
	if len(b) < 20 {
		return nil, errShortBlock
	}
	ifc, err := s.lookup(s.order.Uint32(b))
	if err != nil {
		return nil, err
	}
	stamp := uint64(s.order.Uint32(b[4:]))<<32 | uint64(s.order.Uint32(b[8:]))
	return s.packet(ifc, stamp, s.order.Uint32(b[12:]), s.order.Uint32(b[16:]), b[20:], 0)
}

// obsolete reads a Packet Block (appendix A of the draft).
func (s *sections) obsolete(b []byte) (*bus.Record, error) {
	if len(b) < 20 {
		return nil, errShortBlock
	}
	ifc, err := s.lookup(uint32(s.order.Uint16(b)))
	if err != nil {
		return nil, err
	}
	drops := uint64(s.order.Uint16(b[2:]))
	if drops == 0xffff { // not known
		drops = 0
	}
	stamp := uint64(s.order.Uint32(b[4:]))<<32 | uint64(s.order.Uint32(b[8:]))
	return s.packet(ifc, stamp, s.order.Uint32(b[12:]), s.order.Uint32(b[16:]), b[20:], drops)
}

// packet makes the record of a packet with options behind it.
func (s *sections) packet(ifc int, stamp uint64, captured, length uint32, b []byte, drops uint64) (*bus.Record, error) {
	if uint64(captured) > uint64(len(b)) {
		return nil, errCaptured
	}
	data := b[:captured:captured]
	var flags bus.Flags
	process := -1
	s.inbound = false
	options := b[min((uint64(captured)+3)&^3, uint64(len(b))):]
	for o, rest, ok := parseOption(s.order, options); ok; o, rest, ok = parseOption(s.order, rest) {
		switch {
		case o.code == optFlags && len(o.value) >= 4:
			switch s.order.Uint32(o.value) & flagsDirection {
			case flagsOutbound:
				flags |= bus.Outgoing
			case flagsInbound:
				s.inbound = true
			}
		case o.code == optDropCount && len(o.value) >= 8:
			drops = s.order.Uint64(o.value)
		case o.code == optProcess && len(o.value) >= 4:
			process = int(s.order.Uint32(o.value))
		case o.code == optComment && len(s.comments) < maxComments:
			s.comments = append(s.comments, o.text())
		}
	}
	frame := s.emit(ifc, s.interfaces[ifc].clock.nanoseconds(stamp), data, length, flags)
	s.pending = s.pending[:0]
	if process >= 0 && process < len(s.tasks) {
		s.tellProcess(&s.tasks[process], frame)
	}
	if drops > 0 {
		s.pending = append(s.pending, &bus.Record{Layer: bus.Frames, Type: bus.Dropped, Offset: frame.Offset,
			Time: frame.Time, Stream: frame.Stream, Aux: uint32(min(drops, math.MaxUint32))})
	}
	if len(s.pending) == 0 {
		return frame, nil
	}
	s.pending = append(s.pending, frame)
	return nil, nil
}

// maxComments is how many comments of one packet are read.
const maxComments = 16

// simple reads a Simple Packet Block (section 4.4). It has no time: that of the
// packet before it is taken.
func (s *sections) simple(b []byte) (*bus.Record, error) {
	if len(b) < 4 {
		return nil, errShortBlock
	}
	ifc, err := s.lookup(0)
	if err != nil {
		return nil, err
	}
	length := s.order.Uint32(b)
	captured := length
	if snap := s.interfaces[ifc].SnapLen; snap != 0 {
		captured = min(captured, snap)
	}
	captured = uint32(min(uint64(captured), uint64(len(b)-4)))
	return s.emit(ifc, s.last, b[4:4+captured:4+captured], length, 0), nil
}

// secrets reads a Decryption Secrets Block (section 4.7).
func (s *sections) secrets(b []byte) {
	if len(b) < 8 || s.order.Uint32(b) != secretsTLS {
		return
	}
	b = b[8 : 8+min(uint64(s.order.Uint32(b[4:])), uint64(len(b)-8))]
	for line := range bytes.Lines(b) {
		if secret, ok := parseKeyLogLine(line); ok && len(s.pending) < maxSecrets {
			s.pending = append(s.pending, bus.SecretRecord(secret, s.last))
		}
	}
}

// Record types of a Name Resolution Block (section 4.5).
const (
	nameIPv4 = 1
	nameIPv6 = 2
)

// resolve reads a Name Resolution Block.
func (s *sections) resolve(b []byte) {
	for len(b) >= 4 {
		typ, n := s.order.Uint16(b), int(s.order.Uint16(b[2:]))
		if typ == 0 || 4+n > len(b) {
			return
		}
		value := b[4 : 4+n]
		b = b[min(4+pad4(n), len(b)):]
		size := map[uint16]int{nameIPv4: 4, nameIPv6: 16}[typ]
		if size == 0 || n < size {
			continue
		}
		addr, _ := netip.AddrFromSlice(value[:size])
		for name := range bytes.SplitSeq(value[size:], []byte{0}) {
			s.name(addr, string(name))
		}
	}
}

func (f *Reader) name(addr netip.Addr, name string) {
	if name == "" || len(name) > 255 || len(f.names) >= maxNames {
		return
	}
	if f.names == nil {
		f.names = map[netip.Addr][]string{}
	}
	const perAddress = 16
	if known := f.names[addr]; len(known) < perAddress {
		for _, k := range known {
			if k == name {
				return
			}
		}
		f.names[addr] = append(known, name)
	}
}
