package scan

import (
	"bytes"
	"debug/elf"
	"sort"
)

// rustls: the default KeyLog is NoKeyLog, called through a vtable:
//
//	before 0.22: drop, size 0, align 1,             log, will_log
//	since 0.22:  drop, size 0, align 1, Debug::fmt, log, will_log
//
// (log does nothing, will_log returns false). That vtable is found by its
// relocations and its two entries are replaced: this needs no symbols and no
// room in functions of one and three bytes, and does not mind merged ones.

// pointer is a code pointer in the data, at a link-time address.
type pointer struct {
	addr uint64
	Slot
}

// maxPointers bounds the relocations that are looked at.
const maxPointers = 4 << 20

// pointers lists the code pointers in the data, by address.
func (f *file) pointers(m isa) []pointer {
	var all []pointer
	add := func(addr, value, at uint64, rebase bool) {
		if len(all) < maxPointers && f.executable(value) {
			all = append(all, pointer{addr, Slot{value, at, rebase}})
		}
	}
	for i := range f.sections {
		s := &f.sections[i]
		if s.flags&uint64(elf.SHF_ALLOC) == 0 {
			continue
		}
		switch {
		case s.kind == uint32(elf.SHT_RELA):
			b := f.data(s)
			for o := 0; o+24 <= len(b); o += 24 {
				if uint32(le.Uint64(b[o+8:])) == m.relative() {
					add(le.Uint64(b[o:]), le.Uint64(b[o+16:]), s.addr+uint64(o)+16, true)
				}
			}
		case s.kind == shtRELR:
			eachRELR(f.data(s), func(addr uint64) {
				if v, ok := f.word(addr); ok {
					add(addr, v, addr, true)
				}
			})
		case f.kind == elf.ET_EXEC && (s.name == ".data.rel.ro" || s.name == ".rodata"):
			b := f.data(s)
			for o := 0; o+8 <= len(b); o += 8 {
				add(s.addr+uint64(o), le.Uint64(b[o:]), s.addr+uint64(o), false)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].addr < all[j].addr })
	return all
}

const shtRELR = 19

// eachRELR lists the addresses of compact relative relocations (SHT_RELR): an
// even entry is an address, an odd one a bitmap of the 63 words behind.
func eachRELR(b []byte, each func(addr uint64)) {
	var where uint64
	for n := 0; len(b) >= 8 && n < maxPointers; b, n = b[8:], n+1 {
		e := le.Uint64(b)
		if e&1 == 0 {
			each(e)
			where = e + 8
			continue
		}
		for i, bits := uint64(0), e>>1; bits != 0; i, bits = i+1, bits>>1 {
			if bits&1 != 0 {
				each(where + i*8)
			}
		}
		where += 63 * 8
	}
}

// rustls' own logs, by what their Debug::fmt writes.
const (
	noKeyLog   = "NoKeyLog"   // the default
	keyLogFile = "KeyLogFile" // writes to SSLKEYLOGFILE where that is set
)

// findRustls finds the vtables of both: those whose Debug::fmt writes their
// names, and of a version that had none the only one that looks like NoKeyLog's.
func findRustls(f *file, m isa, res *Result) {
	if !hasRustls(f) {
		return
	}
	all := f.pointers(m)
	var sure, maybe []Site
	for i := 0; i+1 < len(all); i++ {
		log, willLog := all[i], all[i+1]
		if willLog.addr != log.addr+8 {
			continue
		}
		named := i > 0 && all[i-1].addr == log.addr-8
		if !m.returnsNothing(f.at(log.Value, 8)) || !m.returnsFalse(f.at(willLog.Value, 16)) {
			if named && m.returnsTrue(f.at(willLog.Value, 16)) && m.refersTo(f, all[i-1].Value, keyLogFile) {
				sure = append(sure, Site{Kind: RustlsKeyLog, Name: keyLogFile, Addr: log.addr, Slots: []Slot{log.Slot}})
			}
			continue
		}
		site := Site{Kind: RustlsKeyLog, Name: noKeyLog, Addr: log.addr, Slots: []Slot{log.Slot, willLog.Slot}}
		switch {
		case named && f.sizeAlign(log.addr-24):
			if m.refersTo(f, all[i-1].Value, noKeyLog) {
				sure = append(sure, site)
			}
		case f.sizeAlign(log.addr-16) && !f.methodAt(all[i+2:], willLog.addr+8):
			maybe = append(maybe, site)
		}
	}
	if len(maybe) == 1 && (len(sure) == 0 || hasOldRustls(f)) {
		sure = append(sure, maybe[0])
	}
	const maxSites = 16
	res.Library, res.Mechanism = "rustls", "vtable"
	if len(sure) == 0 || len(sure) > maxSites {
		res.Reason, res.Help = "The program contains rustls, but the vtables of its key logs were not found.", "A build that sets rustls' KeyLogFile writes its secrets to SSLKEYLOGFILE."
		return
	}
	res.Sites = sure
}

// methodAt reports whether a code pointer, the first of rest, is at addr and is
// one more method of a vtable, rather than the beginning of the next: drop, size,
// align.
func (f *file) methodAt(rest []pointer, addr uint64) bool {
	if len(rest) == 0 || rest[0].addr != addr {
		return false
	}
	align, ok := f.word(addr + 16)
	return !ok || align == 0 || align&(align-1) != 0 || len(rest) > 1 && rest[1].addr == addr+8
}

// debugSize is how much of a Debug::fmt is looked at, in bytes.
const debugSize = 320

// sizeAlign reports whether the words size 0 and align 1 of a vtable are here.
func (f *file) sizeAlign(addr uint64) bool {
	size, ok1 := f.word(addr)
	align, ok2 := f.word(addr + 8)
	return ok1 && ok2 && size == 0 && align == 1
}

// hasOldRustls looks for the paths of source files of rustls before 0.22, which
// are in the messages of panics.
func hasOldRustls(f *file) bool {
	d := f.data(f.section(".rodata"))
	for _, v := range []string{"/rustls-0.19.", "/rustls-0.20.", "/rustls-0.21."} {
		if bytes.Contains(d, []byte(v)) {
			return true
		}
	}
	return false
}

// hasRustls looks for rustls' strings; Rust's have no NUL between them, but
// what stands next to what is the compiler's choice.
func hasRustls(f *file) bool {
	d := f.data(f.section(".rodata"))
	return bytes.Contains(d, []byte("_TRAFFIC_SECRETSERVER_")) || bytes.Contains(d, []byte("_SECRET_0SERVER_TRAFFIC_")) ||
		bytes.Contains(d, []byte("rustls")) && bytes.Contains(d, []byte("CLIENT_RANDOM"))
}
