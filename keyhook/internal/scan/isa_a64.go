package scan

import "debug/elf"

type a64 struct{}

func (a64) relative() uint32 { return uint32(elf.R_AARCH64_RELATIVE) }
func (a64) goQuantum() byte  { return 4 }

// goPrologue: ldr x16, [x28, #16]; [sub x17, sp, #N [, lsl #12];]...
// cmp sp|x17, x16; b.ls.
func (a64) goPrologue(text []byte) (int, bool) {
	compared := false
	for n := 0; n < 6*4 && n+4 <= len(text); n += 4 {
		w := le.Uint32(text[n:])
		switch {
		case n == 0:
			if w != 0xf9400b90 { // ldr x16, [x28, #16]
				return 0, false
			}
		case w&0xff8003ff == 0xd10003f1: // sub x17, sp, #imm
		case w&0xff8003ff == 0xd1000231: // sub x17, x17, #imm
		case w == 0xeb3063ff || w == 0xeb10023f: // cmp sp, x16; cmp x17, x16
			compared = true
		case w&0xff00001f == 0x54000009: // b.ls
			return n + 4, compared
		default:
			return 0, false
		}
	}
	return 0, false
}

// storedOffset: str x1, [x0, #off].
func (a64) storedOffset(text []byte) (uint64, bool) {
	w := a64Words(text)[0]
	return uint64(w>>10&0xfff) * 8, w&0xffc003ff == 0xf9000001
}

// setterOffset: str x1, [x0, #off]; ret.
func (a a64) setterOffset(text []byte) (uint64, bool) {
	off, ok := a.storedOffset(text)
	return off, ok && a64Words(text)[1] == a64Ret
}
