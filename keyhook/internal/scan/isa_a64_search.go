package scan

// The search of stripped libraries is not made for arm64 yet; symbols, Go's
// function table and rustls' vtables are.

func (a64) labelCalls([]byte, uint64, bool, int, map[uint64]string, func(string, uint64)) {}

func (a64) calls([]byte, uint64, uint64) bool { return false }

func (a64) copiedRandom([]byte) (uint64, bool) { return 0, false }

func (a64) callbackOffsets(*file, uint64) (ctx, callback uint64, ok bool) { return 0, 0, false }

func (a64) addressOffset([]byte) (uint64, bool) { return 0, false }

const (
	a64Ret    = 0xd65f03c0
	a64False  = 0x52800000 // mov w0, #0
	a64False2 = 0x2a1f03e0 // mov w0, wzr
	a64True   = 0x52800020 // mov w0, #1
	a64BTI    = 0xd503245f
)

func a64Words(text []byte) (w [3]uint32) {
	if len(text) >= 4 && le.Uint32(text) == a64BTI {
		text = text[4:]
	}
	for i := range w {
		if len(text) >= 4*i+4 {
			w[i] = le.Uint32(text[4*i:])
		}
	}
	return w
}

func (a64) returnsNothing(text []byte) bool { return a64Words(text)[0] == a64Ret }

func (a64) returnsFalse(text []byte) bool {
	w := a64Words(text)
	return (w[0] == a64False || w[0] == a64False2) && w[1] == a64Ret
}

func (a64) returnsTrue(text []byte) bool {
	w := a64Words(text)
	return w[0] == a64True && w[1] == a64Ret
}

// refersTo: adrp R, page; add R, R, #low in the function's first words.
func (a64) refersTo(f *file, fn uint64, s string) bool {
	text := f.at(fn, debugSize)
	pages := map[uint32]uint64{}
	for i := 0; i+4 <= len(text); i += 4 {
		w := le.Uint32(text[i:])
		switch {
		case w&0x9f000000 == 0x90000000: // adrp
			imm := int64(int32(w<<8)>>13)<<2 | int64(w>>29&3)
			pages[w&31] = (fn+uint64(i))&^0xfff + uint64(imm<<12)
		case w&0xffc00000 == 0x91000000: // add, 64 bits, no shift
			page, ok := pages[w>>5&31]
			if ok && string(f.at(page+uint64(w>>10&0xfff), uint64(len(s)))) == s {
				return true
			}
		}
	}
	return false
}
