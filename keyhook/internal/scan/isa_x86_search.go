package scan

import (
	"bytes"
	"debug/elf"

	"golang.org/x/arch/x86/x86asm"
)

// callDistance is how many instructions may be between the loading of an
// argument and the call.
const callDistance = 8

// argumentLoads are lea R, [rip+d], and mov R, imm32 as it is without PIE, for
// the register of an argument.
var argumentLoads = map[int]struct{ lea, mov []byte }{
	2: {[]byte{0x48, 0x8d, 0x35}, []byte{0xbe}},       // rsi
	5: {[]byte{0x4c, 0x8d, 0x05}, []byte{0x41, 0xb8}}, // r8
}

func (x86) labelCalls(text []byte, addr uint64, absolute bool, arg int, labels map[uint64]string, found func(string, uint64)) {
	each := func(op []byte, target func(o int) uint64) {
		for o := 0; ; {
			i := bytes.Index(text[o:], op)
			if i < 0 || o+i+len(op)+4 > len(text) {
				return
			}
			o += i + len(op) // at the 32-bit operand
			if label, ok := labels[target(o)]; ok {
				if fn, ok := nextCall(text[o+4:], addr+uint64(o+4)); ok {
					found(label, fn)
				}
			}
		}
	}
	each(argumentLoads[arg].lea, func(o int) uint64 { return addr + uint64(o+4) + uint64(int64(int32(le.Uint32(text[o:])))) })
	if absolute {
		each(argumentLoads[arg].mov, func(o int) uint64 { return uint64(le.Uint32(text[o:])) })
	}
}

// nextCall is the target of the next call or tail jump.
func nextCall(text []byte, pc uint64) (uint64, bool) {
	for range callDistance {
		in, err := x86asm.Decode(text[:min(len(text), 16)], 64)
		if err != nil {
			return 0, false
		}
		pc += uint64(in.Len)
		text = text[in.Len:]
		if in.Op == x86asm.CALL || in.Op == x86asm.JMP {
			r, ok := in.Args[0].(x86asm.Rel)
			return pc + uint64(int64(r)), ok
		}
	}
	return 0, false
}

func (x86) calls(text []byte, addr, fn uint64) bool {
	for len(text) > 0 {
		in, err := x86asm.Decode(text[:min(len(text), 16)], 64)
		if err != nil {
			return false
		}
		addr += uint64(in.Len)
		text = text[in.Len:]
		if r, ok := in.Args[0].(x86asm.Rel); ok && in.Op == x86asm.CALL && addr+uint64(int64(r)) == fn {
			return true
		}
	}
	return false
}

// copiedRandom: four loads of 16 bytes from one base.
func (x86) copiedRandom(text []byte) (uint64, bool) {
	var base x86asm.Reg
	var loads []int64
	for len(text) > 0 && len(loads) < 4 {
		in, err := x86asm.Decode(text[:min(len(text), 16)], 64)
		if err != nil {
			return 0, false
		}
		text = text[in.Len:]
		m, isMem := in.Args[1].(x86asm.Mem)
		if !isMem || in.MemBytes != 16 || m.Base == x86asm.RSP || m.Base == x86asm.RIP || m.Index != 0 || m.Segment != 0 {
			continue
		}
		if len(loads) > 0 && m.Base != base {
			return 0, false
		}
		base = m.Base
		loads = append(loads, m.Disp)
	}
	if len(loads) < 4 {
		return 0, false
	}
	first, second := min(loads[0], loads[1]), min(loads[2], loads[3])
	pair := func(a, b, low int64) bool { return a+b == 2*low+16 }
	ok := pair(loads[0], loads[1], first) && pair(loads[2], loads[3], second) && (second == first+32 || second == first-32) && first > 0
	return uint64(first), ok
}

// callbackOffsets: with ssl in S, mov R, [S+ctx] and then cmp qword [R+cb], 0
// or mov Q, [R+cb]; test Q, Q. Copies of S are followed, and calls and tail
// jumps that pass it on.
func (x86) callbackOffsets(f *file, fn uint64) (ctx, callback uint64, ok bool) {
	ssl := map[x86asm.Reg]bool{x86asm.RDI: true}
	for range 3 { // functions on the way
		c := callbackSearch{ssl: ssl, loaded: map[x86asm.Reg]int64{}, second: map[x86asm.Reg][2]int64{}}
		next, done := c.function(f.at(fn, maxFunction), fn)
		if done {
			return uint64(c.ctx), uint64(c.callback), true
		}
		if next == 0 {
			break
		}
		fn, ssl = next, c.ssl
	}
	return 0, 0, false
}

// callbackSearch is the little data flow of callbackOffsets.
type callbackSearch struct {
	ssl           map[x86asm.Reg]bool     // registers that hold ssl
	loaded        map[x86asm.Reg]int64    // registers that hold *(ssl+off)
	second        map[x86asm.Reg][2]int64 // registers that hold *(*(ssl+off)+off)
	ctx, callback int64
}

// function goes through a function in a straight line. next is the first
// function that is called.
func (c *callbackSearch) function(text []byte, pc uint64) (next uint64, done bool) {
	for range 40 {
		in, err := x86asm.Decode(text[:min(len(text), 16)], 64)
		if err != nil {
			return 0, false
		}
		pc += uint64(in.Len)
		text = text[in.Len:]
		if c.step(in) {
			return 0, c.ctx >= 0 && c.callback > 0
		}
		if in.Op == x86asm.CALL || in.Op == x86asm.JMP {
			r, ok := in.Args[0].(x86asm.Rel)
			if !ok {
				return 0, false
			}
			return pc + uint64(int64(r)), false
		}
	}
	return 0, false
}

func (c *callbackSearch) step(in x86asm.Inst) (found bool) {
	dst, toReg := in.Args[0].(x86asm.Reg)
	switch in.Op {
	case x86asm.MOV:
		if !toReg {
			return false
		}
		wasSSL := false
		if src, ok := in.Args[1].(x86asm.Reg); ok {
			wasSSL = c.ssl[src]
		}
		m, isMem := in.Args[1].(x86asm.Mem)
		isMem = isMem && m.Index == 0 && m.Segment == 0 && in.MemBytes == 8
		fromSSL := isMem && c.ssl[m.Base]
		off, fromLoaded := c.loaded[m.Base]
		fromLoaded = isMem && fromLoaded
		c.forget(dst)
		switch {
		case wasSSL:
			c.ssl[dst] = true
		case fromSSL:
			c.loaded[dst] = m.Disp
		case fromLoaded:
			c.second[dst] = [2]int64{off, m.Disp}
		}
	case x86asm.CMP:
		m, isMem := in.Args[0].(x86asm.Mem)
		imm, isImm := in.Args[1].(x86asm.Imm)
		if off, ok := c.loaded[m.Base]; isMem && isImm && ok && imm == 0 && in.MemBytes == 8 && m.Index == 0 {
			c.ctx, c.callback = off, m.Disp
			return true
		}
	case x86asm.TEST:
		if offs, ok := c.second[dst]; toReg && ok && in.Args[1] == in.Args[0] {
			c.ctx, c.callback = offs[0], offs[1]
			return true
		}
	case x86asm.PUSH:
	default:
		if toReg {
			c.forget(dst)
		}
	}
	return false
}

func (c *callbackSearch) forget(r x86asm.Reg) {
	delete(c.ssl, r)
	delete(c.loaded, r)
	delete(c.second, r)
}

// addressOffset: lea R, [rdi+off] comes first, behind tests of the arguments.
func (x86) addressOffset(text []byte) (uint64, bool) {
	text = bytes.TrimPrefix(text, endbr64)
	for range 12 {
		in, err := x86asm.Decode(text[:min(len(text), 16)], 64)
		if err != nil {
			return 0, false
		}
		text = text[in.Len:]
		switch m, isMem := in.Args[1].(x86asm.Mem); {
		case in.Op == x86asm.LEA && isMem && m.Base == x86asm.RDI && m.Index == 0 && m.Disp > 0:
			return uint64(m.Disp), true
		case in.Op == x86asm.ADD && in.Args[0] == x86asm.RDI:
			imm, ok := in.Args[1].(x86asm.Imm)
			return uint64(imm), ok && imm > 0
		case in.Op == x86asm.RET:
			return 0, false
		}
	}
	return 0, false
}

var emptyFrame = []byte{0x55, 0x48, 0x89, 0xe5} // push rbp; mov rbp, rsp

func (x86) returnsNothing(text []byte) bool {
	text = bytes.TrimPrefix(text, endbr64)
	if t, ok := bytes.CutPrefix(text, emptyFrame); ok {
		return bytes.HasPrefix(t, []byte{0x5d, 0xc3})
	}
	return len(text) > 0 && text[0] == 0xc3
}

func (x86) returnsFalse(text []byte) bool { return returnsX86(text, []byte{0x31, 0xc0}) } // xor eax, eax
func (x86) returnsTrue(text []byte) bool  { return returnsX86(text, []byte{0xb0, 0x01}) } // mov al, 1

func returnsX86(text, value []byte) bool {
	text = bytes.TrimPrefix(text, endbr64)
	if t, ok := bytes.CutPrefix(text, emptyFrame); ok {
		t, ok = bytes.CutPrefix(t, value)
		return ok && bytes.HasPrefix(t, []byte{0x5d, 0xc3})
	}
	t, ok := bytes.CutPrefix(text, value)
	return ok && bytes.HasPrefix(t, []byte{0xc3})
}

// refersTo: lea R, [rip+d] in the function's first bytes, or mov R, imm32
// without PIE.
func (x86) refersTo(f *file, fn uint64, s string) bool {
	text := f.at(fn, debugSize)
	absolute := f.kind == elf.ET_EXEC
	for i := 0; i+7 <= len(text); i++ {
		var to uint64
		switch {
		case text[i]&0xfb == 0x48 && text[i+1] == 0x8d && text[i+2]&0xc7 == 5:
			to = fn + uint64(i) + 7 + uint64(int64(int32(le.Uint32(text[i+3:]))))
		case absolute && text[i]&0xf8 == 0xb8:
			to = uint64(le.Uint32(text[i+1:]))
		default:
			continue
		}
		if string(f.at(to, uint64(len(s)))) == s {
			return true
		}
	}
	return false
}
