package pcapng

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"clipper/bus"

	"github.com/klauspost/compress/zstd"
)

// ErrFormat is the error for what is no capture file.
var ErrFormat = errors.New("not a capture file: neither pcap nor pcapng")

// Interface is where packets were captured.
type Interface struct {
	Name        string
	Description string
	LinkType    uint16 // LINKTYPE_
	SnapLen     uint32 // bytes of a packet that are kept; 0: all

	clock clock
}

// Reader reads a capture file.
type Reader struct {
	src    *source
	format string
	read   func() (*bus.Record, error)
	close  func()
	err    error

	record     bus.Record
	frame      uint64        // index of the next frame
	last       int64         // time of the last frame
	pending    []*bus.Record // that one block gave
	given      int           // of them that Next has returned
	interfaces []Interface
	names      map[netip.Addr][]string
	comments   []string
}

// NewReader recognizes the format from the first bytes. It reads no more of r
// than is needed for the records asked for, and up to 512 KiB ahead if they are
// there.
func NewReader(r io.Reader) (*Reader, error) {
	f := &Reader{src: &source{r: bufio.NewReaderSize(r, windowSize)}, close: func() {}}
	if err := f.decompress(); err != nil {
		return nil, err
	}
	magic := f.src.peek(4)
	if len(magic) < 4 {
		f.Close()
		return nil, ErrFormat
	}
	var err error
	if binary.BigEndian.Uint32(magic) == blockSection {
		f.format = "pcapng"
		f.read = (&sections{Reader: f}).next
	} else {
		f.format = "pcap"
		f.read, err = f.openPcap()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// decompress puts the decompressor of the input, if one is needed, before it.
func (f *Reader) decompress() error {
	magic := f.src.peek(4)
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b: // RFC 1952
		z, err := gzip.NewReader(f.src.r)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		f.src = &source{r: bufio.NewReaderSize(z, windowSize), compressed: true}
	case len(magic) == 4 && binary.LittleEndian.Uint32(magic) == 0xfd2fb528: // RFC 8878
		// 128 MiB is the window of zstd --long, the largest that the program
		// takes without being told so.
		z, err := zstd.NewReader(f.src.r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		f.close = z.Close
		f.src = &source{r: bufio.NewReaderSize(z, windowSize), compressed: true}
	}
	return nil
}

// Next returns the next record, valid until the following call. Frames have
// their number in the file, from 0, as Offset, and the index of Interfaces as
// Stream. Losses that the file tells of are records of the type bus.Dropped,
// which have the Offset of the frame before which they happened. The secrets of
// a file are records of the layer bus.Keys, at their place; the processes that it
// names are records of the layer bus.Proc, before the first packet of each of
// their connections.
//
// The error is io.EOF at the end of the file, a *DamageError where it stops to
// make sense, or that of the input. It is final.
func (f *Reader) Next() (*bus.Record, error) {
	for f.err == nil || len(f.pending) > f.given {
		if len(f.pending) > f.given {
			f.given++
			return f.pending[f.given-1], nil
		}
		f.pending, f.given = f.pending[:0], 0
		f.comments = f.comments[:0]
		var r *bus.Record
		if r, f.err = f.read(); f.err == nil && r != nil {
			return r, nil
		}
	}
	return nil, f.err
}

// Close frees what the decompressor holds. It does not close the input.
func (f *Reader) Close() { f.close() }

// Format is "pcap" or "pcapng".
func (f *Reader) Format() string { return f.format }

// Interfaces lists the interfaces of all sections that have been read so far.
func (f *Reader) Interfaces() []Interface { return f.interfaces }

// Names are the names of addresses that the file has told so far.
func (f *Reader) Names() map[netip.Addr][]string { return f.names }

// Comments are those of the record that Next has returned.
func (f *Reader) Comments() []string { return f.comments }

// emit makes the record of a frame.
func (f *Reader) emit(ifc int, time int64, data []byte, length uint32, flags bus.Flags) *bus.Record {
	if uint64(length) > uint64(len(data)) {
		flags |= bus.Truncated
	}
	f.record = bus.Record{Layer: bus.Frames, Type: bus.Type(f.interfaces[ifc].LinkType), Flags: flags, Offset: f.frame,
		Time: time, Stream: uint64(ifc), Aux: length, Payload: data}
	f.frame++
	f.last = time
	return &f.record
}
