package scan

import "bytes"

// pclntab is the function table of a Go program (runtime.pcHeader, Go 1.18
// and later): names and, for each function, its offset from runtime.text.
type pclntab struct {
	textStart uint64
	nfunc     uint64
	names     []byte // NUL-terminated names
	funcs     []byte // functab: pairs of u32 {function offset, offset of its _func in here}
}

// goFunc is one function, as offsets from runtime.text.
type goFunc struct {
	name     string
	off, end uint64
}

// maxGoName bounds the length of a function's name.
const maxGoName = 512

func parsePclntab(b []byte) (*pclntab, bool) {
	if len(b) < 72 {
		return nil, false
	}
	switch le.Uint32(b) {
	case 0xfffffff0, 0xfffffff1: // Go 1.18, Go 1.20
	default:
		return nil, false
	}
	if b[7] != 8 { // pointer size
		return nil, false
	}
	p := &pclntab{nfunc: le.Uint64(b[8:]), textStart: le.Uint64(b[24:])}
	names, funcs := le.Uint64(b[32:]), le.Uint64(b[64:])
	if names > uint64(len(b)) || funcs > uint64(len(b)) {
		return nil, false
	}
	p.names, p.funcs = b[names:], b[funcs:]
	// nfunc pairs and the end of the last function.
	if p.nfunc > uint64(len(p.funcs))/8 || p.nfunc*8+4 > uint64(len(p.funcs)) {
		return nil, false
	}
	return p, true
}

// find returns the functions whose name ends in suffix, which includes the
// NUL, at most max.
func (p *pclntab) find(suffix []byte, max int) []goFunc {
	want := map[uint32]string{}
	for o := 0; len(want) < max; {
		i := bytes.Index(p.names[o:], suffix)
		if i < 0 {
			break
		}
		end := o + i + len(suffix) - 1
		start := bytes.LastIndexByte(p.names[:o+i], 0) + 1
		if end-start <= maxGoName {
			want[uint32(start)] = string(p.names[start:end])
		}
		o = end
	}
	if len(want) == 0 {
		return nil
	}
	var found []goFunc
	for i := uint64(0); i < p.nfunc && len(found) < max; i++ {
		e := p.funcs[i*8:]
		fn := uint64(le.Uint32(e[4:]))
		if fn+8 > uint64(len(p.funcs)) {
			continue
		}
		name, ok := want[le.Uint32(p.funcs[fn+4:])]
		if off, end := uint64(le.Uint32(e)), uint64(le.Uint32(e[8:])); ok && off < end {
			found = append(found, goFunc{name, off, end})
		}
	}
	return found
}
