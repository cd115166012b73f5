package payload

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

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
	ask := c.Here()
	c.Append(0xb8) // mov eax, execveat
	c.u32(322)
	c.mov64(7, g.Ask[0])
	c.mov64(6, g.Ask[1])
	c.Append(0x31, 0xd2)       // xor edx, edx
	c.Append(0x45, 0x31, 0xd2) // xor r10d, r10d
	c.Append(0x45, 0x31, 0xc0) // xor r8d, r8d
	c.Append(0x0f, 0x05)
	c.Append(0x83, 0xf8, 0x100-AskAgain)       // cmp eax, -EAGAIN
	c.Append(0x74, byte(int8(ask-c.Here()-2))) // je ask
	c.Append(0xb8, 14, 0, 0, 0)                // mov eax, rt_sigprocmask
	c.Append(0xbf, 2, 0, 0, 0)                 // mov edi, SIG_SETMASK
	c.Append(0x48, 0x8d, 0x35)                 // lea rsi, [rip+mask]
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

// LoadSizeAMD64 is more than the code of a Load takes, in bytes.
const LoadSizeAMD64 = 256

// Load implements Arch. System calls leave their arguments as they are.
func (AMD64) Load(c *Code, l Load, ask uint64) bool {
	const (
		sysMmap, sysClose, sysExecveat = 9, 3, 322

		private = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE
	)
	ok := true
	toAsk := func(op ...byte) { ok = c.branch(ask, op...) == nil && ok }
	mov32 := func(v uint64, op ...byte) {
		c.Append(op...)
		c.u32(uint32(v))
	}
	call := func(nr uint64) {
		mov32(nr, 0xb8) // mov eax, nr
		c.Append(0x0f, 0x05)
	}
	c.Append(0x45, 0x31, 0xc9)                         // xor r9d, r9d
	mov32(private, 0x41, 0xba)                         // mov r10d, flags
	c.Append(0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff) // mov r8, -1
	for _, m := range [][3]uint64{{l.Code, l.CodeSize, unix.PROT_READ | unix.PROT_EXEC}, {l.State, l.StateSize, unix.PROT_READ | unix.PROT_WRITE}} {
		if m[1] == 0 {
			continue
		}
		c.mov64(7, m[0])
		mov32(m[1], 0xbe) // mov esi, size
		mov32(m[2], 0xba) // mov edx, protection
		call(sysMmap)
		c.Append(0x48, 0x39, 0xf8) // cmp rax, rdi
		toAsk(0x0f, 0x85)          // jne
	}
	if l.RingSize == 0 {
		mov32(1, 0x41, 0xb9) // mov r9d, 1
	} else {
		c.mov64(7, l.Ring[0])
		c.mov64(6, l.Ring[1])
		c.Append(0x31, 0xd2)       // xor edx, edx
		c.Append(0x45, 0x31, 0xd2) // xor r10d, r10d
		c.Append(0x45, 0x31, 0xc0) // xor r8d, r8d
		call(sysExecveat)
		c.Append(0x85, 0xc0)       // test eax, eax
		toAsk(0x0f, 0x88)          // js
		c.Append(0x41, 0x89, 0xc0) // mov r8d, eax
		c.Append(0x31, 0xff)       // xor edi, edi
		mov32(l.RingSize, 0xbe)
		mov32(unix.PROT_READ|unix.PROT_WRITE, 0xba)
		mov32(unix.MAP_SHARED, 0x41, 0xba)
		call(sysMmap)
		c.Append(0x49, 0x89, 0xc1) // mov r9, rax
		c.Append(0x44, 0x89, 0xc7) // mov edi, r8d
		call(sysClose)
	}
	toAsk(0xe9)
	return ok
}
