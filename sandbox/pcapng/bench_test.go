package pcapng

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// benchFile is a pcapng file of about 64 MiB of full-sized Ethernet frames.
func benchFile() []byte {
	f := &file{AppendByteOrder: binary.LittleEndian}
	f.section()
	f.ifc(1, 0)
	frame := string(make([]byte, 1514))
	for i := range uint64(64 << 20 / 1514) {
		f.enhanced(0, i*1000, 1514, frame, nil)
	}
	return f.b
}

func BenchmarkRead(b *testing.B) {
	file := benchFile()
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkWrite fills checksums in, as for every frame that Clipper captures.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1400, 65000} {
		b.Run("", func(b *testing.B) {
			c := &conversation{}
			c.segment(0, ack, make([]byte, size))
			c.records[0].Time = 1
			w, err := NewWriter(io.Discard, Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(c.records[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
