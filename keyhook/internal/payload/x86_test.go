package payload

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// disassemble is one instruction a line, with absolute targets.
func disassemble(t *testing.T, base uint64, code []byte) string {
	t.Helper()
	var s []string
	for o := 0; o < len(code); {
		in, err := x86asm.Decode(code[o:], 64)
		if err != nil {
			t.Fatalf("+%#x of % x: %v", o, code, err)
		}
		s = append(s, strings.Join(strings.Fields(x86asm.GNUSyntax(in, base+uint64(o), nil)), " "))
		o += in.Len
	}
	return strings.Join(s, "; ")
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDisplacedX86(t *testing.T) {
	const addr, base = 0x400000, 0x3f0000
	for _, c := range []struct{ name, text, want string }{
		{"as they are", "55 4889e5 4883ec10 c3", "push %rbp; mov %rsp,%rbp; sub $0x10,%rsp; jmpq 0x400008"},
		{"RIP-relative", "488b0500010000 c3", "mov 0x10100(%rip),%rax; jmpq 0x400007"},
		{"call", "e800010000 c3", "callq 0x400105; jmpq 0x400005"},
		{"short jcc", "4885ff 7410 90 c3", "test %rdi,%rdi; je 0x400015; jmpq 0x400005"},
		{"long jcc", "0f8510000000 c3", "jne 0x400016; jmpq 0x400006"},
		{"short jmp at the end", "4889f8 eb20 c3", "mov %rdi,%rax; jmpq 0x400025"},
		{"ret, then padding", "31c0 c3 cccc cccc", "xor %eax,%eax; retq"},
	} {
		code := Code{Base: base}
		n, err := AMD64{}.Displaced(&code, addr, unhex(t, c.text))
		if err != nil || n < jumpLen {
			t.Errorf("%s: %d, %v", c.name, n, err)
			continue
		}
		if got := disassemble(t, base, code.Bytes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct{ name, text string }{
		{"too short", "31c0 c3"},
		{"too short, then code", "31c0 c3 55 c3 90 90"},
		{"loop", "e2fe 90 90 90 90"},
		{"jrcxz", "e300 90 90 90 90"},
		{"branch into itself", "eb02 90 90 90 90"},
		{"branch back into them", "55 4889e5 4883ec10 ebf9"},
		{"undecodable", "06 06 06 06 06 06"},
		{"empty", ""},
	} {
		code := Code{Base: base}
		if n, err := (AMD64{}).Displaced(&code, addr, unhex(t, c.text)); !errors.Is(err, ErrDisplace) {
			t.Errorf("%s: %d, %v: %s", c.name, n, err, disassemble(t, base, code.Bytes))
		}
	}
	far := Code{Base: addr + 1<<32}
	if _, err := (AMD64{}).Displaced(&far, addr, unhex(t, "488b0500010000 c3")); !errors.Is(err, ErrReach) {
		t.Errorf("far: %v", err)
	}
}

func TestBodyX86(t *testing.T) {
	code := Code{Base: 0x1000}
	if err := (AMD64{}).Body(&code, OpCallback, 0x123456789abcdef0, 0x2000); err != nil {
		t.Fatal(err)
	}
	pushes, pops, depth := 0, 0, 0
	text := disassemble(t, code.Base, code.Bytes)
	for in := range strings.SplitSeq(text, "; ") {
		switch {
		case strings.HasPrefix(in, "push"):
			pushes++
			depth++
		case strings.HasPrefix(in, "pop"):
			pops++
			depth--
		}
	}
	if pushes != 15 || pops != 15 || depth != 0 || !strings.Contains(text, "mov $0x123456789abcdef0,%r15; mov $0x5,%r14d; callq 0x2000") {
		t.Errorf("%s", text)
	}
}

func TestGateX86(t *testing.T) {
	g := Gate{Ask: [2]uint64{0x1111, 0x2222}, Mask: 0xdeadbeef, PC: 0x400123}
	for i := range GateRegistersAMD64 {
		g.Registers = append(g.Registers, uint64(i+1)<<32)
	}
	code := Code{Base: 0x1000}
	AMD64{}.Gate(&code, g)
	if len(code.Bytes) > GateSizeAMD64 {
		t.Fatalf("%d bytes", len(code.Bytes))
	}
	data := code.Bytes[len(code.Bytes)-16:]
	text := disassemble(t, code.Base, code.Bytes[:len(code.Bytes)-16])
	want := "syscall; mov $0x142,%eax; mov $0x1111,%rdi; mov $0x2222,%rsi; xor %edx,%edx; xor %r10d,%r10d; xor %r8d,%r8d; syscall; cmp $-0xb,%eax; je 0x1002; " +
		"mov $0xe,%eax; mov $0x2,%edi; lea 0x72(%rip),%rsi; xor %edx,%edx; mov $0x8,%r10d; syscall; " +
		"mov $0x100000000,%rax; mov $0x200000000,%rcx; mov $0x300000000,%rdx; mov $0x400000000,%rsi; mov $0x500000000,%rdi; " +
		"mov $0x600000000,%r8; mov $0x700000000,%r9; mov $0x800000000,%r10; mov $0x900000000,%r11; jmpq *(%rip)"
	if text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if !bytes.Equal(data, unhex(t, "2301400000000000 efbeadde00000000")) {
		t.Errorf("% x", data)
	}
}

func TestLoadX86(t *testing.T) {
	l := Load{Code: 0x3fc000, CodeSize: 0x2000, State: 0x3fe000, StateSize: 0x1000, Ring: [2]uint64{0x1111, 0x2222}, RingSize: 0x401000}
	code := Code{Base: 0x1200}
	const code1 = "xor %r9d,%r9d; mov $0x100022,%r10d; mov $-0x1,%r8; mov $0x3fc000,%rdi; mov $0x2000,%esi; mov $0x5,%edx; mov $0x9,%eax; syscall; cmp %rdi,%rax; jne 0x1002; "
	if !(AMD64{}).Load(&code, l, 0x1002) || len(code.Bytes) > LoadSizeAMD64 {
		t.Fatalf("%d bytes", len(code.Bytes))
	}
	want := code1 + "mov $0x3fe000,%rdi; mov $0x1000,%esi; mov $0x3,%edx; mov $0x9,%eax; syscall; cmp %rdi,%rax; jne 0x1002; " +
		"mov $0x1111,%rdi; mov $0x2222,%rsi; xor %edx,%edx; xor %r10d,%r10d; xor %r8d,%r8d; mov $0x142,%eax; syscall; test %eax,%eax; js 0x1002; " +
		"mov %eax,%r8d; xor %edi,%edi; mov $0x401000,%esi; mov $0x3,%edx; mov $0x1,%r10d; mov $0x9,%eax; syscall; mov %rax,%r9; " +
		"mov %r8d,%edi; mov $0x3,%eax; syscall; jmpq 0x1002"
	if text := disassemble(t, code.Base, code.Bytes); text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	l.StateSize, l.RingSize, code.Bytes = 0, 0, nil
	if !(AMD64{}).Load(&code, l, 0x1002) {
		t.Fatal("no code")
	}
	if text, want := disassemble(t, code.Base, code.Bytes), code1+"mov $0x1,%r9d; jmpq 0x1002"; text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

func TestBlob(t *testing.T) {
	b := Blob()
	if len(b) == 0 || len(b) > 2048 {
		t.Fatalf("%d bytes", len(b))
	}
}

func FuzzDisplacedX86(f *testing.F) {
	f.Add([]byte{0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc3})
	f.Add([]byte{0x48, 0x8b, 0x05, 0, 1, 0, 0, 0xc3})
	f.Add([]byte{0x74, 0x10, 0xeb, 0x00, 0xe8, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, text []byte) {
		code := Code{Base: 0x3f0000}
		n, err := AMD64{}.Displaced(&code, 0x400000, text)
		if err == nil && (n < jumpLen || n > len(text) || len(code.Bytes) > 64) {
			t.Fatalf("%d of %d bytes became %d", n, len(text), len(code.Bytes))
		}
	})
}
