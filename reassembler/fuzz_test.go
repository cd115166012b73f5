package reassembler_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"
)

// packFrames is the form in which FuzzStage takes frames: for each the link
// type, bytes cut off by the capture and the length (16 bits each), the time
// since the one before in units of 2^20 ns (16 bits), and the bytes.
func packFrames(frames []*bus.Record) (b []byte) {
	last := start
	for _, f := range frames {
		if f.Type == bus.EOS || len(f.Payload) > 0xffff {
			continue
		}
		b = binary.BigEndian.AppendUint16(b, uint16(f.Type))
		b = binary.BigEndian.AppendUint16(b, uint16(int(f.Aux)-len(f.Payload)))
		b = binary.BigEndian.AppendUint16(b, uint16(len(f.Payload)))
		b = binary.BigEndian.AppendUint16(b, uint16(min((f.Time-last)>>20, 0xffff)))
		b = append(b, f.Payload...)
		last = f.Time
	}
	return b
}

func unpackFrames(b []byte) (frames []*bus.Record) {
	now := start
	for len(b) >= 8 {
		n := min(int(binary.BigEndian.Uint16(b[4:])), len(b)-8)
		now += int64(binary.BigEndian.Uint16(b[6:])) << 20
		if b[6] == 0xff { // a jump in either direction
			now -= int64(b[7]-128) << 44
		}
		frames = append(frames, &bus.Record{Layer: bus.Frames, Type: bus.Type(binary.BigEndian.Uint16(b)), Time: now,
			Aux: uint32(n) + uint32(binary.BigEndian.Uint16(b[2:])), Offset: uint64(len(frames)), Payload: b[8 : 8+n : 8+n]})
		b = b[8+n:]
	}
	return append(frames, &bus.Record{Layer: bus.Frames, Type: bus.EOS, Offset: uint64(len(frames)), Time: now})
}

// FuzzStage: no frames bring the stage to panic or to break the life of a
// connection.
func FuzzStage(f *testing.F) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range scripts {
		text, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		source, _, _ := strings.Cut(string(text), "---\n")
		if b := packFrames(parseScript(f, source)); len(b) < 1<<13 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := unpackFrames(b)
		checkLife(t, run(frames))
		for i, r := range frames {
			r.Pos = uint64(i + 1)
		}
		checkLife(t, run(frames))
	})
}

// Frames cut off anywhere.
func TestEveryPrefix(t *testing.T) {
	for _, link := range links {
		frames := parseScript(t, "link "+link+"\n"+exchange)
		for _, f := range frames {
			for n := range len(f.Payload) {
				c := *f
				c.Payload = f.Payload[:n:n]
				checkLife(t, run([]*bus.Record{frames[0], frames[1], &c, {Layer: bus.Frames, Type: bus.EOS}}))
				c.Aux = uint32(n)
				checkLife(t, run([]*bus.Record{&c, &c, {Layer: bus.Frames, Type: bus.EOS}}))
			}
		}
	}
}
