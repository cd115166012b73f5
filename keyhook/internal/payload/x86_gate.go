package payload

import "encoding/binary"

// GateRegistersAMD64 are what system calls take and clobber, by number: rax,
// rcx, rdx, rsi, rdi, r8 to r11.
var GateRegistersAMD64 = []byte{0, 1, 2, 6, 7, 8, 9, 10, 11}

// GateSizeAMD64 is more than the code of a Gate takes, in bytes.
const GateSizeAMD64 = 256

// mov64 appends mov r64, imm64.
func (c *Code) mov64(r byte, v uint64) {
	c.Append(0x48|r>>3, 0xb8|r&7)
	c.u64(v)
}

// Gate implements Arch.
func (AMD64) Gate(c *Code, g Gate) {
	c.Append(0x0f, 0x05) // syscall: the gate itself
	c.Append(0xb8)       // mov eax, execveat
	c.u32(322)
	c.mov64(7, g.Ask[0])
	c.mov64(6, g.Ask[1])
	c.Append(0x31, 0xd2)       // xor edx, edx
	c.Append(0x45, 0x31, 0xd2) // xor r10d, r10d
	c.Append(0x45, 0x31, 0xc0) // xor r8d, r8d
	c.Append(0x0f, 0x05)
	c.Append(0xb8, 14, 0, 0, 0) // mov eax, rt_sigprocmask
	c.Append(0xbf, 2, 0, 0, 0)  // mov edi, SIG_SETMASK
	c.Append(0x48, 0x8d, 0x35)  // lea rsi, [rip+mask]
	at := len(c.Bytes)
	c.u32(0)
	c.Append(0x31, 0xd2)
	c.Append(0x41, 0xba, 8, 0, 0, 0) // mov r10d, 8
	c.Append(0x0f, 0x05)
	for i, r := range GateRegistersAMD64 {
		c.mov64(r, g.Registers[i])
	}
	c.Append(0xff, 0x25, 0, 0, 0, 0) // jmp [rip+0]
	c.u64(g.PC)
	binary.LittleEndian.PutUint32(c.Bytes[at:], uint32(len(c.Bytes)-at-4))
	c.u64(g.Mask)
}
