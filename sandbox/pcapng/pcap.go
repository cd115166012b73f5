package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"

	"clipper/bus"
)

// Magic numbers of pcap files in the byte order of the writer
// (draft-ietf-opsawg-pcap, section 4), and that of the patch of Alexey
// Kuznetsov, which has longer packet headers.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34
)

const (
	pcapHeaderLen         = 24
	pcapPacketLen         = 16
	pcapModifiedPacketLen = 24
)

// openPcap reads the file header and returns the function that reads a packet.
func (f *Reader) openPcap() (func() (*bus.Record, error), error) {
	h := f.src.peek(pcapHeaderLen)
	var order binary.ByteOrder = binary.LittleEndian
	fraction, packetLen := int64(1000), pcapPacketLen
	for {
		switch order.Uint32(h) {
		case magicMicro:
		case magicNano:
			fraction = 1
		case magicModified:
			packetLen = pcapModifiedPacketLen
		default:
			if order == binary.BigEndian {
				return nil, ErrFormat
			}
			order = binary.BigEndian
			continue
		}
		break
	}
	if len(h) < pcapHeaderLen {
		return nil, f.src.damage(0, io.ErrUnexpectedEOF)
	}
	if v := order.Uint16(h[4:]); v != 2 {
		return nil, fmt.Errorf("%w: pcap of version %d.%d", ErrFormat, v, order.Uint16(h[6:]))
	}
	f.interfaces = []Interface{{LinkType: uint16(order.Uint32(h[20:])), SnapLen: order.Uint32(h[16:])}}
	if _, err := f.src.next(pcapHeaderLen); err != nil {
		return nil, err
	}
	return func() (*bus.Record, error) {
		start := f.src.offset
		h, err := f.src.next(packetLen)
		if err != nil {
			return nil, f.atBoundary(start, err)
		}
		time := int64(order.Uint32(h))*1e9 + int64(order.Uint32(h[4:]))*fraction
		captured, length := order.Uint32(h[8:]), order.Uint32(h[12:])
		if captured > maxBlock {
			return nil, f.src.damage(start, fmt.Errorf("packet of %d bytes", captured))
		}
		data, err := f.src.next(int(captured))
		if err != nil {
			return nil, f.src.damage(start, err)
		}
		return f.emit(0, time, data, length, 0), nil
	}, nil
}

// atBoundary is the error of a read at which the file may end.
func (f *Reader) atBoundary(start int64, err error) error {
	if err == io.EOF {
		return err
	}
	return f.src.damage(start, err)
}
