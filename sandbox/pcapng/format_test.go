package pcapng

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus"

	"github.com/klauspost/compress/zstd"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// list prints what a file holds, a line each.
func list(r io.Reader) string {
	var out strings.Builder
	f, err := NewReader(r)
	if err != nil {
		return err.Error() + "\n"
	}
	defer f.Close()
	fmt.Fprintln(&out, f.Format())
	for {
		r, err := f.Next()
		if err != nil {
			fmt.Fprintln(&out, err)
			break
		}
		switch {
		case r.Layer == bus.Keys:
			s, err := bus.ParseSecret(r)
			if err != nil {
				fmt.Fprintln(&out, err)
				break
			}
			fmt.Fprintf(&out, "secret at %d: %s\n", r.Time, s.KeyLogLine())
		case r.Layer == bus.Proc:
			e := r.Event.(*bus.ProcEvent)
			fmt.Fprintf(&out, "%s at %d: %d %s %s %v %v\n", e.Type, e.Time, e.PID, e.Exe, e.Transport, e.Local, e.Remote)
		case r.Type == bus.Dropped:
			fmt.Fprintf(&out, "%d dropped before %d at %d\n", r.Aux, r.Offset, r.Time)
		default:
			fmt.Fprintf(&out, "frame %d at %d: interface %d linktype %d flags %b, %d of %d: %.40x", r.Offset, r.Time, r.Stream, r.Type, r.Flags, len(r.Payload), r.Aux, r.Payload)
			for _, c := range f.Comments() {
				fmt.Fprintf(&out, " %q", c)
			}
			fmt.Fprintln(&out)
		}
	}
	for i, ifc := range f.Interfaces() {
		fmt.Fprintf(&out, "interface %d: %q %q linktype %d snaplen %d\n", i, ifc.Name, ifc.Description, ifc.LinkType, ifc.SnapLen)
	}
	for addr, names := range f.Names() {
		fmt.Fprintf(&out, "%v: %q\n", addr, names)
	}
	return out.String()
}

// file is a capture file under construction.
type file struct {
	binary.AppendByteOrder
	b []byte
}

func (f *file) u32(v ...uint32) {
	for _, v := range v {
		f.b = f.AppendUint32(f.b, v)
	}
}

func (f *file) u16(v ...uint16) {
	for _, v := range v {
		f.b = f.AppendUint16(f.b, v)
	}
}

func (f *file) padded(s string) {
	f.b = append(f.b, s...)
	f.b = append(f.b, "\x00\x00\x00"[:pad4(len(s))-len(s)]...)
}

// block appends a block with what body writes.
func (f *file) block(typ uint32, body func()) {
	start := len(f.b)
	f.u32(typ, 0)
	body()
	n := f.AppendUint32(nil, uint32(len(f.b)-start+4))
	copy(f.b[start+4:], n)
	f.b = append(f.b, n...)
}

func (f *file) option(code uint16, value string) {
	f.u16(code, uint16(len(value)))
	f.padded(value)
}

func (f *file) section() {
	f.block(blockSection, func() {
		f.u32(byteOrderMagic)
		f.u16(1, 0)
		f.u32(0xffffffff, 0xffffffff)
		f.option(optApplication, "test")
		f.option(optEnd, "")
	})
}

func (f *file) ifc(linkType uint16, snapLen uint32, options ...string) {
	f.block(blockInterface, func() {
		f.u16(linkType, 0)
		f.u32(snapLen)
		for i := 0; i < len(options); i += 2 {
			f.option(uint16(options[i][0]), options[i+1])
		}
	})
}

func (f *file) enhanced(ifc uint32, stamp uint64, length uint32, data string, options func()) {
	f.block(blockEnhanced, func() {
		f.u32(ifc, uint32(stamp>>32), uint32(stamp), uint32(len(data)), length)
		f.padded(data)
		if options != nil {
			options()
		}
	})
}

func (f *file) dsb(lines string) {
	f.block(blockSecrets, func() {
		f.u32(secretsTLS, uint32(len(lines)))
		f.padded(lines)
	})
}

func (f *file) pcap(magic, linkType uint32, packets ...string) {
	f.u32(magic)
	f.u16(2, 4)
	f.u32(0, 0, 65535, linkType)
	for i, p := range packets {
		f.u32(1700000000+uint32(i), 123456, uint32(len(p)), uint32(len(p)+i))
		if magic == magicModified {
			f.u32(3, 0)
		}
		f.b = append(f.b, p...)
	}
}

const keyLine = "CLIENT_RANDOM 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20 aabbcc\n"

// everything is a pcapng file with every kind of block.
func everything(o binary.AppendByteOrder) []byte {
	f := &file{AppendByteOrder: o}
	f.section()
	f.dsb(keyLine + "# a comment\n\nnonsense\n")
	f.ifc(1, 0, "\x02", "eth0", "\x03", "the wire", "\x09", "\x09")
	f.ifc(101, 4)
	f.enhanced(0, 1700000000123456789, 6, "packet", nil)
	f.enhanced(1, 1700000000123456, 9, "pack", func() {
		f.option(optComment, "first")
		f.option(optFlags, string(f.AppendUint32(nil, flagsOutbound)))
		f.option(optDropCount, string(f.AppendUint64(nil, 5)))
		f.option(2988, "private")
		f.option(optComment, "second")
		f.option(optEnd, "")
	})
	f.block(blockSimple, func() { f.u32(7); f.padded("simple!") })
	f.block(blockPacket, func() {
		f.u16(1, 3)
		f.u32(0x60a24, 0x181e4000, 3, 3)
		f.padded("old")
	})
	f.block(blockNames, func() {
		f.option(nameIPv4, "\x01\x02\x03\x04one.test\x00alias.test\x00")
		f.option(99, "unknown")
		f.u32(0)
	})
	f.block(blockStatistics, func() { f.u32(0, 0, 0) })
	f.block(0xbad, func() { f.u32(32473); f.padded("custom") })
	f.block(77, func() {})
	f.dsb(strings.Replace(keyLine, "aabbcc", "ddeeff", 1))
	f.section()
	f.ifc(276, 0, "\x0e", string(f.AppendUint64(nil, 10)), "\x09", "\x8a") // 10 s and 1/1024 s
	f.enhanced(0, 1024*1700000000+512, 1, "x", nil)
	return f.b
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEveryBlock(t *testing.T) {
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		golden(t, "blocks.golden", list(bytes.NewReader(everything(o))))
	}
}

// Two sections of different byte order in one file.
func TestSectionsOfBothByteOrders(t *testing.T) {
	b := append(everything(binary.LittleEndian), everything(binary.BigEndian)...)
	got := list(bytes.NewReader(b))
	if n := strings.Count(got, "frame "); n != 10 || !strings.Contains(got, "\nEOF\n") || !strings.Contains(got, "interface 5: ") {
		t.Errorf("%d frames\n%s", n, got)
	}
}

func TestPcap(t *testing.T) {
	for _, c := range []struct {
		name  string
		magic uint32
		time  string
	}{{"µs", magicMicro, "1700000001123456000"}, {"ns", magicNano, "1700000001000123456"}, {"modified", magicModified, "1700000001123456000"}} {
		for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			f := &file{AppendByteOrder: o}
			f.pcap(c.magic, 0xf0000071, "one", "two") // with the length of an FCS
			got := list(bytes.NewReader(f.b))
			if want := "frame 1 at " + c.time + ": interface 0 linktype 113 flags 100, 3 of 4: 74776f\nEOF\n"; !strings.Contains(got, want) {
				t.Errorf("%s %v: got\n%s\nwant\n%s", c.name, o, got, want)
			}
		}
	}
}

func TestCompressed(t *testing.T) {
	plain := everything(binary.LittleEndian)
	want := list(bytes.NewReader(plain))
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	g.Write(plain[:200]) // two members, as of concatenated files
	g.Close()
	g = gzip.NewWriter(&z)
	g.Write(plain[200:])
	g.Close()
	if got := list(&z); got != want {
		t.Errorf("gzip: got\n%s", got)
	}
	z.Reset()
	s, _ := zstd.NewWriter(&z)
	s.Write(plain)
	s.Close()
	whole := bytes.Clone(z.Bytes())
	if got := list(&z); got != want {
		t.Errorf("zstd: got\n%s", got)
	}
	for i := range whole {
		if got := list(bytes.NewReader(whole[:i])); strings.Contains(got, "\nEOF") {
			t.Errorf("zstd cut at %d: no error", i)
		}
	}
}

// A file that is cut off gives what is whole and says where it ends.
func TestEveryPrefix(t *testing.T) {
	f := &file{AppendByteOrder: binary.LittleEndian}
	f.pcap(magicMicro, 1, "one", "two")
	for name, whole := range map[string][]byte{"pcap": f.b, "pcapng": everything(binary.BigEndian)} {
		ends := boundaries(t, whole)
		var atBoundary int
		for n := 4; n < len(whole); n++ {
			in, err := NewReader(bytes.NewReader(whole[:n:n]))
			records := 0
			for err == nil {
				if _, err = in.Next(); err == nil {
					records++
				}
			}
			if want, ok := ends[n]; ok {
				atBoundary++
				if err != io.EOF || records != want {
					t.Errorf("%s of %d bytes: %d records, %v; want %d and EOF", name, n, records, err, want)
				}
				continue
			}
			var d *DamageError
			if !errors.As(err, &d) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s of %d bytes: %v", name, n, err)
			}
			if want, ok := ends[int(d.Offset)]; !ok || want != records {
				t.Errorf("%s of %d bytes: %d records, damage at %d", name, n, records, d.Offset)
			}
		}
		if atBoundary < 2 {
			t.Errorf("%s: only %d boundaries", name, atBoundary)
		}
	}
}

// boundaries returns the offsets between blocks, with the number of records
// before each.
func boundaries(t *testing.T, whole []byte) map[int]int {
	t.Helper()
	in, err := NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]int{0: 0, int(in.src.offset): 0}
	for records := 0; ; {
		in.pending = in.pending[:0]
		r, err := in.read()
		if err == io.EOF {
			return ends
		}
		if err != nil {
			t.Fatal(err)
		}
		if records += len(in.pending); r != nil {
			records++
		}
		ends[int(in.src.offset)] = records
	}
}

func TestDamage(t *testing.T) {
	le := func() *file {
		f := &file{AppendByteOrder: binary.LittleEndian}
		f.section()
		f.ifc(1, 0)
		f.enhanced(0, 1, 3, "one", nil)
		return f
	}
	for _, c := range []struct {
		name, want string
		damage     func(f *file)
	}{
		{"unknown interface", "packet of interface 1, which was not described", func(f *file) { f.enhanced(1, 1, 3, "two", nil) }},
		{"captured length", "packet is longer than its block", func(f *file) {
			f.block(blockEnhanced, func() { f.u32(0, 0, 0, 9, 9); f.padded("eight by") })
		}},
		{"huge captured length", "packet is longer than its block", func(f *file) {
			f.block(blockEnhanced, func() { f.u32(0, 0, 0, 0xffffffff, 9); f.padded("eight by") })
		}},
		{"block length", "impossible block length: 13", func(f *file) { f.u32(6, 13, 0, 0) }},
		{"short length", "impossible block length: 8", func(f *file) { f.u32(6, 8, 0, 0) }},
		{"huge packet", "impossible block length: 4294967292", func(f *file) { f.u32(6, 0xfffffffc, 0, 0) }},
		{"second length", "impossible block length: 16 before the block and 20 after it", func(f *file) { f.u32(77, 16, 0, 20) }},
		{"short block", "block is too short", func(f *file) { f.block(blockEnhanced, func() { f.u32(0) }) }},
		{"byte order", "impossible byte-order magic", func(f *file) { f.u32(blockSection, 28, 5, 0) }},
		{"version", "version 2.0 of the format is not known", func(f *file) {
			f.block(blockSection, func() { f.u32(byteOrderMagic); f.u16(2, 0); f.u32(0, 0) })
		}},
	} {
		f := le()
		at := len(f.b)
		c.damage(f)
		got := list(bytes.NewReader(f.b))
		if want := fmt.Sprintf("6f6e65\ncapture file is damaged at byte %d: %s\n", at, c.want); !strings.Contains(got, want) {
			t.Errorf("%s: got\n%s", c.name, got)
		}
	}
}

func TestNoCaptureFile(t *testing.T) {
	for _, s := range []string{"", "abc", "hello, world", "\xd4\xc3\xb2\xa1\x03\x00\x00\x00" + strings.Repeat("\x00", 16)} {
		if _, err := NewReader(strings.NewReader(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// What cannot be read is passed over without taking its memory.
func TestHugeUnknownBlock(t *testing.T) {
	f := &file{AppendByteOrder: binary.LittleEndian}
	f.section()
	const n = 64 << 20
	f.u32(77, n, 0)
	tail := &file{AppendByteOrder: f.AppendByteOrder}
	tail.u32(n)
	tail.ifc(1, 0)
	tail.enhanced(0, 1, 3, "one", nil)
	in := io.MultiReader(bytes.NewReader(f.b), io.LimitReader(zeros{}, n-16), bytes.NewReader(tail.b))
	if got := list(in); !strings.Contains(got, "6f6e65\nEOF\n") {
		t.Errorf("got\n%s", got)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A length that the file does not have takes no memory.
func TestClaimedLength(t *testing.T) {
	f := &file{AppendByteOrder: binary.LittleEndian}
	f.section()
	f.u32(6, maxBlock, 0)
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			list(bytes.NewReader(f.b))
		}
	}).AllocedBytesPerOp()
	if allocated > 4*windowSize {
		t.Errorf("%d bytes for a file of %d", allocated, len(f.b))
	}
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		clock clock
		stamp uint64
		want  int64
	}{
		{clock{}, 1_500_000, 1_500_000_000},
		{clock{resolution: 0, set: true}, 3, 3e9},
		{clock{resolution: 9, set: true}, 1 << 60, 1 << 60},
		{clock{resolution: 12, set: true}, 1_234_567_890_123, 1_234_567_890},
		{clock{resolution: 22, set: true}, 12_345_678_901_234_567_890, 1_234_567},
		{clock{resolution: 28, set: true}, 10_000_000_000_000_000_000, 1},
		{clock{resolution: 0x7f, set: true}, 1 << 63, 0},
		{clock{resolution: 0x80 | 1, set: true}, 3, 1_500_000_000},
		{clock{resolution: 0x80 | 63, set: true}, 1 << 62, 500_000_000},
		{clock{resolution: 0x80 | 64, set: true}, 1 << 63, 500_000_000},
		{clock{resolution: 0x80 | 127, set: true}, 1<<64 - 1, 0},
		{clock{offset: -5}, 1_000_000, -4e9},
		{clock{resolution: 0, set: true}, 1<<64 - 1, 9223372035e9},
		{clock{resolution: 0, set: true}, 9223372035, 9223372035e9},
		{clock{offset: 1<<63 - 1}, 1, 9223372035e9},
		{clock{offset: -1 << 63}, 1, -9223372035e9},
	} {
		if got := c.clock.nanoseconds(c.stamp); got != c.want {
			t.Errorf("%+v of %d: %d, want %d", c.clock, c.stamp, got, c.want)
		}
	}
}

func TestReadKeyLog(t *testing.T) {
	in := keyLine + strings.Repeat("x", 10000) + "\n# c\n" + strings.TrimSpace(keyLine)
	n := 0
	if err := ReadKeyLog(strings.NewReader(in), func(s *bus.TLSSecret) error {
		n++
		if s.KeyLogLine()+"\n" != keyLine {
			t.Error(s.KeyLogLine())
		}
		return nil
	}); err != nil || n != 2 {
		t.Errorf("%d secrets, %v", n, err)
	}
}

// Files that editcap made of one file: all formats, and with secrets put in.
func TestEditcap(t *testing.T) {
	tool(t, "editcap")
	source := filepath.Join(corpus, "arkime/http-301-get.pcap")
	want, err := sumUp(source)
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	if err := os.WriteFile(keys, []byte(keyLine), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-F", "pcap"}, {"-F", "nsecpcap"}, {"-F", "modpcap"}, {"-F", "pcapng"}, {"-F", "pcapng", "--inject-secrets", "tls," + keys}} {
		out := filepath.Join(dir, "out")
		if msg, err := exec.Command("editcap", append(args, source, out)...).CombinedOutput(); err != nil {
			t.Fatalf("editcap %v: %v %s", args, err, msg)
		}
		if got, err := sumUp(out); got != want || err != nil {
			t.Errorf("editcap %v: %+v, %v, want %+v", args, got, err, want)
		}
		b, _ := os.ReadFile(out)
		if len(args) > 2 && !strings.Contains(list(bytes.NewReader(b)), strings.TrimSpace(keyLine)) {
			t.Errorf("editcap %v: no secret", args)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(everything(binary.LittleEndian))
	f.Add(everything(binary.BigEndian))
	p := &file{AppendByteOrder: binary.BigEndian}
	p.pcap(magicModified, 1, "one", "two")
	f.Add(p.b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		defer r.Close()
		w, err := NewWriter(io.Discard, Options{Directed: true})
		if err != nil {
			t.Fatal(err)
		}
		for {
			rec, err := r.Next()
			if err != nil {
				break
			}
			if err := w.Write(rec); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
