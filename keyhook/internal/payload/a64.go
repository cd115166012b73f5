package payload

import "encoding/binary"

// ARM64 generates A64 code.
type ARM64 struct{}

// ReachARM64 is how far from the hooked code the code page may be, in bytes:
// that of a branch (B, 26 bits of words) and some room.
const ReachARM64 = 0x7f00000

const (
	a64Nop       = 0xd503201f
	a64Ret       = 0xd65f03c0
	a64SVC       = 0xd4000001
	frameSize    = 256 // x0 to x30
	paramReg     = 19
	opReg        = 20
	scratch      = 16 // ip0: free at calls and function entries
	stackPointer = 31
)

// imm26 is the offset field of B and BL.
func imm26(from, to uint64) (uint32, error) {
	d := int64(to - from)
	if d < -1<<27 || d >= 1<<27 || d&3 != 0 {
		return 0, reach(from, to)
	}
	return uint32(d>>2) & 0x3ffffff, nil
}

// b appends B or BL to an address.
func (c *Code) b(op uint32, to uint64) error {
	imm, err := imm26(c.Here(), to)
	if err != nil {
		return err
	}
	c.u32(op | imm)
	return nil
}

const (
	opB  = 0x14000000
	opBL = 0x94000000
)

// movWide appends movz and movk of a 64-bit value.
func (c *Code) movWide(rd uint32, v uint64) {
	op := uint32(0xd2800000) // movz
	for hw := range uint32(4) {
		if part := uint32(v >> (16 * hw) & 0xffff); part != 0 || hw == 0 {
			c.u32(op | hw<<21 | part<<5 | rd)
			op = 0xf2800000 // movk
		}
	}
}

// Body implements Arch. Flags are not kept: nothing reads them at a function's
// entry.
func (ARM64) Body(c *Code, op uint32, param, blob uint64) error {
	pair := func(insn, n uint32) { c.u32(insn | n<<15 | (n+1)<<10 | stackPointer<<5 | n) } // x(n), x(n+1) at 8*n
	c.u32(0xd1000000 | frameSize<<10 | stackPointer<<5 | stackPointer)                     // sub sp, sp, #256
	for n := uint32(0); n < 30; n += 2 {
		pair(0xa9000000, n) // stp
	}
	c.u32(0xf9000000 | 30<<10 | stackPointer<<5 | 30) // str x30, [sp, #240]
	c.movWide(paramReg, param)
	c.movWide(opReg, uint64(op))
	if err := c.b(opBL, blob); err != nil {
		return err
	}
	for n := uint32(0); n < 30; n += 2 {
		pair(0xa9400000, n) // ldp
	}
	c.u32(0xf9400000 | 30<<10 | stackPointer<<5 | 30)
	c.u32(0x91000000 | frameSize<<10 | stackPointer<<5 | stackPointer)
	return nil
}

// Branch implements Arch.
func (ARM64) Branch(c *Code, to uint64) error { return c.b(opB, to) }

// Return implements Arch.
func (ARM64) Return(c *Code) { c.u32(a64Ret) }

// ReturnTrue implements Arch: mov w0, #1; ret.
func (ARM64) ReturnTrue(c *Code) {
	c.u32(0x52800020)
	c.u32(a64Ret)
}

// Getter implements Arch: ldr x0, [x0, #off]; ret. off is a multiple of 8,
// below 32 KiB.
func (ARM64) Getter(c *Code, off uint32) {
	c.u32(0xf9400000 | off/8&0xfff<<10)
	c.u32(a64Ret)
}

// Jump implements Arch.
func (ARM64) Jump(addr, stub uint64) ([]byte, error) {
	imm, err := imm26(addr, stub)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint32(nil, opB|imm), nil
}

// Entry implements Arch: bti c, bti jc, paciasp and pacibsp are where indirect
// calls may land.
func (ARM64) Entry(text []byte) int {
	if len(text) >= 4 {
		switch binary.LittleEndian.Uint32(text) {
		case 0xd503245f, 0xd50324df, 0xd503233f, 0xd503237f:
			return 4
		}
	}
	return 0
}

// Gate implements Arch.
func (ARM64) Gate(c *Code, g Gate) {
	type literal struct {
		at int
		v  uint64
	}
	var pool []literal
	load := func(rt uint32, v uint64) { // ldr xt, =v
		pool = append(pool, literal{len(c.Bytes), v})
		c.u32(0x58000000 | rt)
	}
	c.u32(a64SVC) // the gate itself
	load(0, g.Ask[0])
	load(1, g.Ask[1])
	for r := range uint32(3) {
		c.movWide(2+r, 0)
	}
	c.movWide(8, 281) // execveat
	c.u32(a64SVC)
	c.movWide(0, 2) // SIG_SETMASK
	mask := len(c.Bytes)
	c.u32(0x10000001) // adr x1, mask
	c.movWide(2, 0)
	c.movWide(3, 8)
	c.movWide(8, 135) // rt_sigprocmask
	c.u32(a64SVC)
	for i, r := range GateRegistersARM64 {
		load(uint32(r), g.Registers[i])
	}
	load(scratch, g.PC)
	c.u32(0xd61f0000 | scratch<<5) // br x16
	if len(c.Bytes)%8 != 0 {
		c.u32(a64Nop)
	}
	patch := func(at, shift int, to int) {
		w := binary.LittleEndian.Uint32(c.Bytes[at:])
		binary.LittleEndian.PutUint32(c.Bytes[at:], w|uint32(to-at)/4<<shift)
	}
	for _, l := range pool {
		patch(l.at, 5, len(c.Bytes))
		c.u64(l.v)
	}
	patch(mask, 5, len(c.Bytes)) // a multiple of 4: immlo is 0
	c.u64(g.Mask)
}

// Load implements Arch.
func (ARM64) Load(*Code, Load, uint64) bool { return false }

// GateRegistersARM64 are what system calls take and clobber, by number.
var GateRegistersARM64 = []byte{0, 1, 2, 3, 4, 5, 8}

// GateSizeARM64 is more than the code of a Gate takes, in bytes.
const GateSizeARM64 = 256
