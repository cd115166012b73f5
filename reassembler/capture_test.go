package reassembler_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"clipper/bus"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"
)

// readCapture makes the frames records of a pcap or pcapng file, gzipped or
// not. A file that is cut off gives what it has.
func readCapture(t testing.TB, path string) []*bus.Record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if data, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	var next func() ([]byte, gopacket.CaptureInfo, error)
	var linkType func(gopacket.CaptureInfo) uint16
	if len(data) >= 4 && bytes.Equal(data[:4], []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			t.Fatal(err)
		}
		next = r.ReadPacketData
		linkType = func(ci gopacket.CaptureInfo) uint16 {
			i, err := r.Interface(ci.InterfaceIndex)
			if err != nil {
				t.Fatal(err)
			}
			return uint16(i.LinkType)
		}
	} else {
		r, err := pcapgo.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		next = r.ReadPacketData
		linkType = func(gopacket.CaptureInfo) uint16 { return uint16(r.LinkType()) }
	}
	var frames []*bus.Record
	for {
		b, ci, err := next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Logf("%s: after %d packets: %v", path, len(frames), err)
			}
			return frames
		}
		frames = append(frames, &bus.Record{Layer: bus.Frames, Type: bus.Type(linkType(ci)), Offset: uint64(len(frames)),
			Time: ci.Timestamp.UnixNano(), Stream: uint64(ci.InterfaceIndex), Aux: uint32(ci.Length), Payload: b})
	}
}
