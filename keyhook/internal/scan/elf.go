package scan

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits against hostile files.
const (
	maxSegments = 512
	maxSections = 1 << 14
)

// Errors of the ELF reader.
var (
	errNotELF = errors.New("scan: no ELF file")
	errELF    = errors.New("scan: malformed ELF file")
)

var le = binary.LittleEndian

// segment is a PT_LOAD or PT_DYNAMIC program header.
type segment struct {
	kind          uint32
	flags         uint32
	off, addr     uint64
	filesz, memsz uint64
}

type section struct {
	name      string
	kind      uint32
	flags     uint64
	addr, off uint64
	size      uint64
	link      uint32
}

// file is a 64-bit little-endian ELF file in memory. Unlike debug/elf it copies
// nothing and reads nothing but what is asked for.
type file struct {
	b        []byte
	class    byte // 1: 32 bits, 2: 64 bits
	kind     elf.Type
	machine  elf.Machine
	phoff    uint64
	segments []segment
	sections []section
}

// open reads the headers. For a 32-bit or big-endian file only class and
// machine are filled in.
func open(b []byte) (*file, error) {
	if len(b) < 64 || string(b[:4]) != elf.ELFMAG {
		return nil, errNotELF
	}
	h := b[:64]
	f := &file{b: b, class: h[4], kind: elf.Type(le.Uint16(h[16:])), machine: elf.Machine(le.Uint16(h[18:]))}
	if f.class != byte(elf.ELFCLASS64) || h[5] != byte(elf.ELFDATA2LSB) {
		return f, nil
	}
	f.phoff = le.Uint64(h[32:])
	if err := f.readSegments(int(le.Uint16(h[54:])), int(le.Uint16(h[56:]))); err != nil {
		return nil, err
	}
	// Section headers are a courtesy: a file may lack them or lie in them.
	if err := f.readSections(le.Uint64(h[40:]), int(le.Uint16(h[58:])), int(le.Uint16(h[60:])), int(le.Uint16(h[62:]))); err != nil {
		f.sections = nil
	}
	return f, nil
}

func (f *file) readSegments(entsize, n int) error {
	if n == 0 {
		return nil
	}
	if entsize != 56 || n > maxSegments {
		return fmt.Errorf("%w: %d program headers of %d bytes", errELF, n, entsize)
	}
	b, err := f.read(f.phoff, uint64(n*entsize))
	if err != nil {
		return err
	}
	for ; len(b) >= entsize; b = b[entsize:] {
		s := segment{kind: le.Uint32(b), flags: le.Uint32(b[4:]), off: le.Uint64(b[8:]), addr: le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:])}
		if s.addr+s.filesz < s.addr || s.off+s.filesz < s.off {
			return fmt.Errorf("%w: segment wraps around", errELF)
		}
		f.segments = append(f.segments, s)
	}
	return nil
}

func (f *file) readSections(off uint64, entsize, n, names int) error {
	if n == 0 {
		return nil
	}
	if entsize != 64 || n > maxSections || names >= n {
		return fmt.Errorf("%w: %d section headers of %d bytes", errELF, n, entsize)
	}
	b, err := f.read(off, uint64(n*entsize))
	if err != nil {
		return err
	}
	var nameAt []uint32
	for ; len(b) >= entsize; b = b[entsize:] {
		nameAt = append(nameAt, le.Uint32(b))
		f.sections = append(f.sections, section{kind: le.Uint32(b[4:]), flags: le.Uint64(b[8:]), addr: le.Uint64(b[16:]),
			off: le.Uint64(b[24:]), size: le.Uint64(b[32:]), link: le.Uint32(b[40:])})
	}
	st := f.sections[names]
	str, err := f.read(st.off, st.size)
	if err != nil {
		return err
	}
	for i, o := range nameAt {
		if uint64(o) < uint64(len(str)) {
			name, _, _ := bytes.Cut(str[o:], []byte{0})
			f.sections[i].name = string(name)
		}
	}
	return nil
}

// read returns n bytes at a file offset, all or none.
func (f *file) read(off, n uint64) ([]byte, error) {
	if size := uint64(len(f.b)); off > size || n > size-off {
		return nil, fmt.Errorf("%w: %d bytes at %#x of a file of %d", errELF, n, off, size)
	}
	return f.b[off : off+n : off+n], nil
}

// data reads a section as it stands in the file; nil for one that cannot be
// read, is compressed or has no bytes.
func (f *file) data(s *section) []byte {
	if s == nil || s.kind == uint32(elf.SHT_NOBITS) || s.flags&uint64(elf.SHF_COMPRESSED) != 0 {
		return nil
	}
	b, err := f.read(s.off, s.size)
	if err != nil {
		return nil
	}
	return b
}

func (f *file) section(name string) *section {
	for i := range f.sections {
		if f.sections[i].name == name {
			return &f.sections[i]
		}
	}
	return nil
}

// at reads up to n bytes of the image at a link-time address.
func (f *file) at(addr, n uint64) []byte {
	for i := range f.segments {
		s := &f.segments[i]
		if s.kind == uint32(elf.PT_LOAD) && addr >= s.addr && addr-s.addr < s.filesz {
			b, err := f.read(s.off+(addr-s.addr), min(n, s.filesz-(addr-s.addr)))
			if err != nil {
				return nil
			}
			return b
		}
	}
	return nil
}

// word reads the 64-bit word at a link-time address.
func (f *file) word(addr uint64) (uint64, bool) {
	b := f.at(addr, 8)
	if len(b) < 8 {
		return 0, false
	}
	return le.Uint64(b), true
}

// executable reports whether an address is in an executable segment.
func (f *file) executable(addr uint64) bool {
	for i := range f.segments {
		s := &f.segments[i]
		if s.kind == uint32(elf.PT_LOAD) && s.flags&uint32(elf.PF_X) != 0 && addr >= s.addr && addr-s.addr < s.filesz {
			return true
		}
	}
	return false
}

// soname reads DT_SONAME.
func (f *file) soname() string {
	const maxDynamic = 1 << 16
	for i := range f.segments {
		s := &f.segments[i]
		if s.kind != uint32(elf.PT_DYNAMIC) || s.filesz > maxDynamic {
			continue
		}
		b, err := f.read(s.off, s.filesz)
		if err != nil {
			continue
		}
		var strtab, name uint64
		for ; len(b) >= 16; b = b[16:] {
			switch elf.DynTag(le.Uint64(b)) {
			case elf.DT_STRTAB:
				strtab = le.Uint64(b[8:])
			case elf.DT_SONAME:
				name = le.Uint64(b[8:])
			}
		}
		if strtab == 0 || name == 0 {
			return ""
		}
		soname, _, ok := bytes.Cut(f.at(strtab+name, 128), []byte{0})
		if !ok {
			return ""
		}
		return string(soname)
	}
	return ""
}
