package payload

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

func disassembleA64(t *testing.T, code []byte) string {
	t.Helper()
	var s []string
	for ; len(code) >= 4; code = code[4:] {
		in, err := arm64asm.Decode(code)
		if err != nil {
			t.Fatalf("% x: %v", code[:4], err)
		}
		s = append(s, arm64asm.GNUSyntax(in))
	}
	return strings.Join(s, "; ")
}

func TestDisplacedA64(t *testing.T) {
	const addr, base = 0x400000, 0x3f0000
	for _, c := range []struct {
		name string
		insn uint32
		want string
	}{
		{"as it is", 0xa9bf7bfd, "stp x29, x30, [sp,#-16]!; b .+0x10000"},
		{"b", 0x14000004, "b .+0x10010; b .+0x10000"},
		{"bl backwards", 0x97ffffff, "bl .+0xfffc; b .+0x10000"},
		{"adr", 0x10000080, "mov x0, #0x10; movk x0, #0x40, lsl #16; b .+0xfffc"},
		{"adrp", 0xb0000001, "mov x1, #0x1000; movk x1, #0x40, lsl #16; b .+0xfffc"},
		{"adrp backwards", 0xf0ffffe2, "mov x2, #0xf000; movk x2, #0x3f, lsl #16; b .+0xfffc"},
		{"b.eq", 0x54000080, "b.eq .+0x8; b .+0x8; b .+0x10008; b .+0xfff8"},
		{"cbz", 0xb4000080, "cbz x0, .+0x8; b .+0x8; b .+0x10008; b .+0xfff8"},
		{"tbnz", 0x37080083, "tbnz w3, #1, .+0x8; b .+0x8; b .+0x10008; b .+0xfff8"},
		{"ldr literal", 0x58000085, "mov x16, #0x10; movk x16, #0x40, lsl #16; ldr x5, [x16]; b .+0xfff8"},
		{"ldrsw literal", 0x98000086, "mov x16, #0x10; movk x16, #0x40, lsl #16; ldrsw x6, [x16]; b .+0xfff8"},
		{"ldr literal, simd", 0x9c000087, "mov x16, #0x10; movk x16, #0x40, lsl #16; ldr q7, [x16]; b .+0xfff8"},
	} {
		code := Code{Base: base}
		n, err := ARM64{}.Displaced(&code, addr, binary.LittleEndian.AppendUint32(nil, c.insn))
		if err != nil || n != 4 {
			t.Errorf("%s: %d, %v", c.name, n, err)
			continue
		}
		if got := disassembleA64(t, code.Bytes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	far := Code{Base: addr + 1<<28}
	if _, err := (ARM64{}).Displaced(&far, addr, []byte{4, 0, 0, 0x14}); !errors.Is(err, ErrReach) {
		t.Errorf("far: %v", err)
	}
	if _, err := (ARM64{}).Displaced(&far, addr, []byte{1, 2, 3}); !errors.Is(err, ErrDisplace) {
		t.Errorf("short: %v", err)
	}
}

func TestBodyA64(t *testing.T) {
	code := Code{Base: 0x1000}
	if err := (ARM64{}).Body(&code, OpCallback, 0x123456789abcdef0, 0x2000); err != nil {
		t.Fatal(err)
	}
	text := disassembleA64(t, code.Bytes)
	for _, want := range []string{"sub sp, sp, #0x100; stp x0, x1, [sp]; stp x2, x3, [sp,#16]", "stp x28, x29, [sp,#224]; str x30, [sp,#240]",
		"mov x19, #0xdef0; movk x19, #0x9abc, lsl #16; movk x19, #0x5678, lsl #32; movk x19, #0x1234, lsl #48; mov x20, #0x5; bl ",
		"ldp x28, x29, [sp,#224]; ldr x30, [sp,#240]; add sp, sp, #0x100"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

func TestGateA64(t *testing.T) {
	g := Gate{Ask: [2]uint64{0x1111, 0x2222}, Mask: 0xdeadbeef, PC: 0x400123}
	for i := range GateRegistersARM64 {
		g.Registers = append(g.Registers, uint64(i+1)<<32)
	}
	code := Code{Base: 0x1000}
	ARM64{}.Gate(&code, g)
	if len(code.Bytes) > GateSizeARM64 {
		t.Fatalf("%d bytes", len(code.Bytes))
	}
	// The literals stand behind the code in the order of their loads.
	want := append(append(g.Ask[:2:2], g.Registers...), g.PC, g.Mask)
	data := code.Bytes[len(code.Bytes)-8*len(want):]
	for i, v := range want {
		if got := binary.LittleEndian.Uint64(data[8*i:]); got != v {
			t.Errorf("literal %d: %#x, want %#x", i, got, v)
		}
	}
	text := disassembleA64(t, code.Bytes[:len(code.Bytes)-8*len(want)])
	if !strings.HasPrefix(text, "svc #0x0; ldr x0, ") || strings.Count(text, "svc #0x0") != 3 || !strings.Contains(text, "mov x8, #0x119; svc") || !strings.Contains(text, "br x16") {
		t.Errorf("%s", text)
	}
}

func FuzzDisplacedA64(f *testing.F) {
	f.Add(uint32(0x54000080))
	f.Add(uint32(0x58000085))
	f.Fuzz(func(t *testing.T, insn uint32) {
		code := Code{Base: 0x3f0000}
		n, err := ARM64{}.Displaced(&code, 0x400000, binary.LittleEndian.AppendUint32(nil, insn))
		if err == nil && (n != 4 || len(code.Bytes) > 32) {
			t.Fatalf("%#08x became %d bytes", insn, len(code.Bytes))
		}
	})
}
