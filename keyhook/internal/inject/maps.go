package inject

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"

	"clipper/keyhook/internal/scan"
)

// mapping is one line of /proc/PID/maps, which is sorted by address.
type mapping struct {
	lo, hi uint64
	exec   bool // and private
	offset uint64
	inode  uint64
	name   string
}

type mappings []mapping

const maxMaps = 64 << 20 // bytes of /proc/PID/maps

func readMaps(tid int) (mappings, error) {
	b, err := readProc(tid, "maps", maxMaps)
	if err != nil {
		return nil, err
	}
	return parseMaps(string(b)), nil
}

func parseMaps(s string) (m mappings) {
	for line := range strings.SplitSeq(s, "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		lo, hi, _ := strings.Cut(f[0], "-")
		l, err1 := strconv.ParseUint(lo, 16, 64)
		h, err2 := strconv.ParseUint(hi, 16, 64)
		inode, err3 := strconv.ParseUint(f[4], 10, 64)
		off, err4 := strconv.ParseUint(f[2], 16, 64)
		if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
			continue
		}
		x := mapping{lo: l, hi: h, exec: strings.HasSuffix(f[1], "xp"), offset: off, inode: inode}
		if len(f) > 5 {
			x.name = f[5]
		}
		m = append(m, x)
	}
	return m
}

// memfd is where a memfd of this name and inode is mapped, 0 if it is not.
func (m mappings) memfd(name string, inode uint64) uint64 {
	for _, x := range m {
		if x.inode == inode && x.name == "/memfd:"+name {
			return x.lo
		}
	}
	return 0
}

// find looks for code in the vDSO, else in any text.
func (m mappings) find(mem io.ReaderAt, code []byte) uint64 {
	const limit = 16 << 20
	for _, vdso := range []bool{true, false} {
		for _, x := range m {
			if vdso != (x.name == "[vdso]") || !x.exec || x.name == "[vsyscall]" {
				continue
			}
			b := make([]byte, min(x.hi-x.lo, limit))
			n, _ := mem.ReadAt(b, int64(x.lo))
			if i := bytes.Index(b[:n], code); i >= 0 {
				return x.lo + uint64(i)
			}
		}
	}
	return 0
}

// gap picks free space of size bytes within reach of at, below it if there is
// any: above a program its heap grows.
func (m mappings) gap(at, size, reach uint64) (uint64, error) {
	const (
		lowest = 0x10000 // vm.mmap_min_addr
		guard  = 1 << 20 // below a stack, which grows down
		top    = 1 << 47 // end of user space
	)
	margin := pageSize // to the neighbours
	lo, hi := uint64(lowest), min(at+reach-size, top)
	if at > reach && at-reach > lo {
		lo = at - reach
	}
	var below, above uint64
	prev := lo
	for _, x := range append(m, mapping{lo: top, hi: top}) {
		end := min(x.lo, hi)
		if strings.HasPrefix(x.name, "[stack") {
			end -= min(end, guard)
		}
		if end > prev && end-prev >= size+2*margin {
			// The far end, away from what may grow upwards.
			p := (end - size - margin) &^ (margin - 1)
			if x.lo <= at {
				below = p
			} else if above == 0 {
				above = p
			}
		}
		prev = max(prev, x.hi)
	}
	if below != 0 {
		return below, nil
	}
	if above != 0 {
		return above, nil
	}
	return 0, errors.New("no free memory within reach of the code")
}

// slack is the unused rest of the last page of the file's code, if it has room
// for size bytes: nothing refers to it, whatever bytes of the file stand there.
func (m mappings) slack(loads []scan.Load, bias, size uint64) uint64 {
	for _, p := range loads {
		if !p.Exec || p.FileSize == 0 || p.MemSize > p.FileSize {
			continue
		}
		at := (bias + p.Addr + p.FileSize + 15) &^ 15
		if at%pageSize == 0 || pageSize-at%pageSize < size {
			continue
		}
		for _, x := range m {
			if x.exec && at >= x.lo && at+size <= x.hi {
				return at
			}
		}
	}
	return 0
}

// spare is slack for size bytes in any object that is mapped: the vDSO, or a
// file. Other threads may want it too: one that holds a gate is left out.
func (m mappings) spare(mem io.ReaderAt, size uint64) uint64 {
	head := make([]byte, pageSize)
	for _, vdso := range []bool{true, false} {
		for _, x := range m {
			if vdso != (x.name == "[vdso]") || !vdso && (x.offset != 0 || x.inode == 0) {
				continue
			}
			n, _ := mem.ReadAt(head, int64(x.lo))
			loads := scan.Loads(head[:n])
			if len(loads) == 0 || loads[0].Off >= pageSize {
				continue
			}
			at := m.slack(loads, x.lo-loads[0].Addr&^(pageSize-1), size)
			if at == 0 {
				continue
			}
			if n, _ := mem.ReadAt(head, int64(at)); !bytes.HasPrefix(head[:n], gateCode) {
				return at
			}
		}
	}
	return 0
}

// errNoText: the mapping is not a segment of code that was searched.
var errNoText = errors.New("the mapping is no executable segment")

// mapBias is the difference between loaded and link-time addresses of a file
// whose bytes from off were mapped at addr.
func mapBias(addr, length, off uint64, res *scan.Result) (uint64, error) {
	if e := int64(addr); e < 0 && e > -4096 {
		return 0, errNoText
	}
	for _, p := range res.Loads {
		if p.Exec && p.Off&^(pageSize-1) == off && length >= p.FileSize {
			return addr - p.Addr&^(pageSize-1), nil
		}
	}
	return 0, errNoText
}

// programBias is that of the main program, by its auxiliary vector.
func programBias(tid int, res *scan.Result) (uint64, error) {
	if !res.Relocated {
		return 0, nil
	}
	b, err := readProc(tid, "auxv", pageSize)
	if err != nil {
		return 0, err
	}
	const atPhdr = 3
	for ; len(b) >= 16; b = b[16:] {
		if binary.LittleEndian.Uint64(b) != atPhdr {
			continue
		}
		for _, p := range res.Loads {
			if h := res.HeaderOff; h >= p.Off && h-p.Off < p.FileSize {
				return binary.LittleEndian.Uint64(b[8:]) - (p.Addr + h - p.Off), nil
			}
		}
	}
	return 0, errors.New("its program headers are not in memory")
}
