package scan

import "debug/elf"

// isa recognises a few code patterns of one architecture.
type isa interface {
	// goPrologue returns the length of a Go function's stack check.
	goPrologue(text []byte) (int, bool)
	// goQuantum is pclntab's "instruction size quantum".
	goQuantum() byte
	// storedOffset returns off of a C function that begins with
	// *(arg0+off) = arg1.
	storedOffset(text []byte) (uint64, bool)
	// setterOffset is the same of a function that does no more.
	setterOffset(text []byte) (uint64, bool)
	// labelCalls reports each call that follows the loading of a label's
	// address into the register of an argument, 2 or 5 (1 is the first).
	// absolute: the program is not position independent.
	labelCalls(text []byte, addr uint64, absolute bool, arg int, labels map[uint64]string, found func(label string, fn uint64))
	// calls reports whether the text, which stands at addr, calls a function.
	calls(text []byte, addr, fn uint64) bool
	// copiedRandom returns the offset of the 32 bytes that a function copies
	// first out of a structure, if next it copies the 32 bytes beside them.
	copiedRandom(text []byte) (uint64, bool)
	// callbackOffsets follows a function (ssl, ...) to where it looks whether
	// ssl->ctx->keylog_callback is set, and returns both offsets.
	callbackOffsets(f *file, fn uint64) (ctx, callback uint64, ok bool)
	// addressOffset returns off of a C function that stores arg0+off first.
	addressOffset(text []byte) (uint64, bool)
	// returnsNothing and so on recognise functions that do no more.
	returnsNothing(text []byte) bool
	returnsFalse(text []byte) bool
	returnsTrue(text []byte) bool
	// refersTo reports whether a function takes the address of a string.
	refersTo(f *file, fn uint64, s string) bool
	// relative is the type of the R_*_RELATIVE relocation.
	relative() uint32
}

var isas = map[elf.Machine]isa{elf.EM_X86_64: x86{}, elf.EM_AARCH64: a64{}}
