package scan

import "debug/elf"

// isa recognises a few code patterns of one architecture.
type isa interface {
	// goPrologue returns the length of a Go function's stack check.
	goPrologue(text []byte) (int, bool)
	// goQuantum is pclntab's "instruction size quantum".
	goQuantum() byte
	// setterOffset returns off of a C function that does nothing but
	// *(arg0+off) = arg1.
	setterOffset(text []byte) (uint64, bool)
	// labelCalls reports each call that follows the loading of a label's
	// address into the second argument register. absolute: the program is not
	// position independent.
	labelCalls(text []byte, addr uint64, absolute bool, labels map[uint64]string, found func(label string, fn uint64))
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
