package scan

import (
	"bytes"
	"debug/elf"
)

// keyLogFunction ends the full name of the function that every secret of
// crypto/tls passes through, and of its forks: module paths differ.
var keyLogFunction = []byte("tls.(*Config).writeKeyLog\x00")

// maxGoSites bounds the copies of crypto/tls in one program.
const maxGoSites = 16

// findGo finds writeKeyLog by the pclntab, which stripping leaves in place.
func findGo(f *file, m isa, res *Result) {
	addr, tab := findPclntab(f, m)
	if tab == nil {
		return
	}
	p, ok := parsePclntab(tab)
	if !ok {
		if isGo(f) {
			res.Library, res.Reason, res.Help = "go", "The program was built by a Go version whose function table is not known here (1.18 and later are).",
				"A build with Go 1.18 or later can be read."
		}
		return
	}
	found := p.find(keyLogFunction, maxGoSites)
	if len(found) == 0 {
		return // no crypto/tls in it
	}
	res.Library, res.Mechanism = "go", "pclntab"
	bases := textBases(f, m, addr, p.textStart)
	for _, fn := range found {
		for _, base := range bases {
			text := f.at(base+fn.off, min(fn.end-fn.off, 1<<16))
			n, ok := m.goPrologue(text)
			if !ok || len(text) < n+16 {
				continue
			}
			res.Sites = append(res.Sites, Site{Kind: GoWriteKeyLog, Name: fn.name, Addr: base + fn.off + uint64(n), Text: bytes.Clone(text[n:])})
			break
		}
	}
	if len(res.Sites) == 0 {
		res.Reason = "The function that sees crypto/tls secrets does not begin as Go's compiler makes it."
	}
}

func isGo(f *file) bool {
	return f.section(".go.buildinfo") != nil || f.section(".note.go.buildid") != nil || f.section(".gopclntab") != nil
}

// findPclntab returns the table's address and bytes.
func findPclntab(f *file, m isa) (uint64, []byte) {
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if s := f.section(name); s != nil {
			return s.addr, f.data(s)
		}
	}
	// GNU ld merges it into .data.rel.ro in an external PIE link.
	if !isGo(f) {
		return 0, nil
	}
	s := f.section(".data.rel.ro")
	d := f.data(s)
	for _, magic := range []byte{0xf1, 0xf0} {
		if i := bytes.Index(d, []byte{magic, 0xff, 0xff, 0xff, 0, 0, m.goQuantum(), 8}); i >= 0 {
			return s.addr + uint64(i), d[i:]
		}
	}
	return 0, nil
}

// textBases lists where runtime.text may be, the surest first: what the
// module data says, the section, the table's own header (unused since 1.26;
// .text is not runtime.text with cgo).
func textBases(f *file, m isa, pclntab, textStart uint64) (bases []uint64) {
	if t := moduleText(f, m, pclntab); t != 0 {
		bases = append(bases, t)
	}
	if s := f.section(".text"); s != nil {
		bases = append(bases, s.addr)
	}
	if textStart != 0 {
		bases = append(bases, textStart)
	}
	return bases
}

// moduleText finds runtime.firstmoduledata by its first word, the pointer to
// the pclntab, and returns its text field.
func moduleText(f *file, m isa, pclntab uint64) uint64 {
	const textField = 22 * 8
	for i := range f.sections {
		s := &f.sections[i]
		if s.kind != uint32(elf.SHT_RELA) || s.flags&uint64(elf.SHF_ALLOC) == 0 {
			continue
		}
		// In a PIE the fields are the addends of relocations, sorted or not.
		b := f.data(s)
		var module uint64
		for e := b; len(e) >= 24; e = e[24:] {
			if le.Uint64(e[16:]) == pclntab && uint32(le.Uint64(e[8:])) == m.relative() {
				module = le.Uint64(e)
				break
			}
		}
		if module == 0 {
			continue
		}
		for e := b; len(e) >= 24; e = e[24:] {
			if le.Uint64(e) == module+textField && uint32(le.Uint64(e[8:])) == m.relative() {
				return le.Uint64(e[16:])
			}
		}
	}
	var want [8]byte
	le.PutUint64(want[:], pclntab)
	for _, name := range []string{".go.module", ".noptrdata", ".data", ".data.rel.ro"} {
		b := f.data(f.section(name))
		for o := 0; ; o++ {
			i := bytes.Index(b[min(o, len(b)):], want[:])
			if i < 0 {
				break
			}
			o += i
			if o%8 == 0 && o+textField+8 <= len(b) {
				return le.Uint64(b[o+textField:])
			}
		}
	}
	return 0
}
