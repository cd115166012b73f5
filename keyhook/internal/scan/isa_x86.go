package scan

import (
	"bytes"
	"debug/elf"

	"golang.org/x/arch/x86/x86asm"
)

type x86 struct{}

func (x86) relative() uint32 { return uint32(elf.R_X86_64_RELATIVE) }
func (x86) goQuantum() byte  { return 1 }

// goPrologue: [lea r12, [rsp-N];] cmp rsp|r12, [r14+16]; jbe.
func (x86) goPrologue(text []byte) (int, bool) {
	n := 0
	compared := false
	for range 3 {
		in, err := x86asm.Decode(text[n:], 64)
		if err != nil {
			return 0, false
		}
		n += in.Len
		switch in.Op {
		case x86asm.LEA:
		case x86asm.CMP:
			m, ok := in.Args[1].(x86asm.Mem)
			if !ok || m.Base != x86asm.R14 || m.Disp != 0x10 {
				return 0, false
			}
			compared = true
		case x86asm.JBE:
			return n, compared
		default:
			return 0, false
		}
	}
	return 0, false
}

var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// storedOffset: mov [rdi+off32], rsi.
func (x86) storedOffset(text []byte) (uint64, bool) {
	text = bytes.TrimPrefix(text, endbr64)
	if len(text) < 8 || !bytes.HasPrefix(text, []byte{0x48, 0x89, 0xb7}) {
		return 0, false
	}
	return uint64(le.Uint32(text[3:])), true
}

// setterOffset: mov [rdi+off32], rsi; ret.
func (x x86) setterOffset(text []byte) (uint64, bool) {
	off, ok := x.storedOffset(text)
	return off, ok && bytes.TrimPrefix(text, endbr64)[7] == 0xc3
}
