package inject

import (
	"debug/elf"
	"encoding/binary"
	"io"
	"testing"

	"clipper/keyhook/internal/scan"
)

const curlMaps = `555555554000-55555555c000 r--p 00000000 fe:00 100 /usr/bin/curl
55555555c000-555555588000 r-xp 00008000 fe:00 100 /usr/bin/curl
555555599000-5555555ba000 rw-p 00000000 00:00 0 [heap]
7ffff7a00000-7ffff7e00000 rw-s 00000000 00:01 4242 /memfd:clipper-keys (deleted)
7ffff7f00000-7ffff7f20000 r--p 00000000 fe:00 200 /usr/lib/libssl.so.3
7ffff7f20000-7ffff7f80000 r-xp 00020000 fe:00 200 /usr/lib/libssl.so.3
7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0 [vdso]
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
`

func TestMaps(t *testing.T) {
	m := parseMaps(curlMaps)
	if len(m) != 9 || m[5] != (mapping{lo: 0x7ffff7f20000, hi: 0x7ffff7f80000, exec: true, offset: 0x20000, inode: 200, name: "/usr/lib/libssl.so.3"}) {
		t.Fatalf("%+v", m)
	}
	if a := m.memfd("clipper-keys", 4242); a != 0x7ffff7a00000 {
		t.Errorf("ring at %#x", a)
	}
	if a := m.memfd("clipper-keys", 4243); a != 0 {
		t.Errorf("another ring at %#x", a)
	}
	res := &scan.Result{Loads: []scan.Load{{Off: 0x20010, Addr: 0x21010, FileSize: 0x5fc00, Exec: true}}}
	bias, err := mapBias(0x7ffff7f20000, 0x60000, 0x20000, res)
	if err != nil || bias != 0x7ffff7eff000 {
		t.Errorf("bias %#x, %v", bias, err)
	}
	if a := m.slack(res.Loads, bias, 256); a != 0x7ffff7f7fc10 {
		t.Errorf("slack at %#x", a)
	}
	if a := m.slack(res.Loads, bias, 0x3f1); a != 0 {
		t.Errorf("slack at %#x where there is not enough", a)
	}
	res.Loads[0].FileSize = 0x5ff00
	if a := m.slack(res.Loads, bias, 256); a != 0 {
		t.Errorf("slack at %#x where there is not enough", a)
	}
	res.Loads[0].FileSize, res.Loads[0].MemSize = 0x5fc00, 0x5fd00
	if a := m.slack(res.Loads, bias, 256); a != 0 {
		t.Errorf("slack at %#x, which the program uses", a)
	}
	if _, err := mapBias(0x7ffff7f20000, 0x1000, 0x20000, res); err == nil {
		t.Error("a part of the segment")
	}
	if _, err := mapBias(0x7ffff7f20000, 0x60000, 0x1000, res); err == nil {
		t.Error("another offset")
	}
}

// image stands in for another process's memory.
type image map[uint64][]byte

func (m image) ReadAt(b []byte, at int64) (int, error) {
	for base, data := range m {
		if a := uint64(at); a >= base && a < base+uint64(len(data)) {
			return copy(b, data[a-base:]), nil
		}
	}
	return 0, io.EOF
}

// elfHead is an ELF file with one executable segment from its start.
func elfHead(size int) []byte {
	b := make([]byte, pageSize)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint32(b[64:], uint32(elf.PT_LOAD))
	le.PutUint32(b[68:], uint32(elf.PF_X|elf.PF_R))
	le.PutUint64(b[64+32:], uint64(size))
	le.PutUint64(b[64+40:], uint64(size))
	return b
}

func TestSpare(t *testing.T) {
	const lib, vdso = 0x7f0000000000, 0x7ffff7fc1000
	end := pageSize
	m := mappings{{lo: lib, hi: lib + end, exec: true, inode: 7, name: "/lib/libc.so.6"}, {lo: vdso, hi: vdso + end, exec: true, name: "[vdso]"}}
	mem := image{lib: elfHead(0x800), vdso: elfHead(0x400)}
	if a := m.spare(mem, 512); a != vdso+0x400 {
		t.Errorf("%#x, want that of the vDSO", a)
	}
	copy(mem[vdso][0x400:], gateCode) // in use
	if a := m.spare(mem, 512); a != lib+0x800 {
		t.Errorf("%#x, want that of the library", a)
	}
	if a := m.spare(mem, end-0x800+1); a != 0 {
		t.Errorf("%#x where there is not enough", a)
	}
	m[0].exec = false
	if a := m.spare(mem, 512); a != 0 {
		t.Errorf("%#x, which is not executable", a)
	}
	mem[lib] = []byte("no ELF file")
	if a := m.spare(mem, 512); a != 0 {
		t.Errorf("%#x in what is no ELF file", a)
	}
}

func TestGap(t *testing.T) {
	const reach = 0x7f000000
	for _, c := range []struct {
		name string
		maps mappings
		at   uint64
		want uint64 // 0: none
	}{
		{"below", parseMaps(curlMaps), 0x7ffff7f30000, 0x7ffff7efd000},
		{"below the program", parseMaps(curlMaps), 0x555555560000, 0x555555551000},
		{"above, at its end", mappings{{lo: 0x10000, hi: 0x400000}, {lo: 0x800000, hi: 0x900000}}, 0x10000, 0x7fd000},
		{"none", mappings{{lo: 0x10000, hi: 1 << 47}}, 0x400000, 0},
		{"too small", mappings{{lo: 0x10000, hi: 0x400000}, {lo: 0x402000, hi: 1 << 47}}, 0x400000, 0},
		{"not under the stack", mappings{{lo: 0x10000, hi: 0x400000}, {lo: 0x480000, hi: 1 << 47, name: "[stack]"}}, 0x10000, 0},
	} {
		got, err := c.maps.gap(c.at, codeSize, reach)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %#x, %v; want %#x", c.name, got, err, c.want)
		}
	}
}
