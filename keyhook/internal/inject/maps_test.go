package inject

import (
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
	if a := m.slack(res, bias); a != 0x7ffff7f7fc10 {
		t.Errorf("slack at %#x", a)
	}
	res.Loads[0].FileSize = 0x5ff00
	if a := m.slack(res, bias); a != 0 {
		t.Errorf("slack at %#x where there is not enough", a)
	}
	if _, err := mapBias(0x7ffff7f20000, 0x1000, 0x20000, res); err == nil {
		t.Error("a part of the segment")
	}
	if _, err := mapBias(0x7ffff7f20000, 0x60000, 0x1000, res); err == nil {
		t.Error("another offset")
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
