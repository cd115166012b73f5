package payload

import "encoding/binary"

// AMD64 generates x86-64 code.
type AMD64 struct{}

const jumpLen = 5 // e9 rel32

// ReachAMD64 is how far from the hooked code the code page may be, in bytes.
const ReachAMD64 = 0x7f000000

func rel32(from, to uint64) (uint32, error) {
	d := int64(to - from)
	if d != int64(int32(d)) {
		return 0, reach(from, to)
	}
	return uint32(int32(d)), nil
}

// branch appends an instruction that ends in a 32-bit displacement.
func (c *Code) branch(to uint64, op ...byte) error {
	r, err := rel32(c.Here()+uint64(len(op))+4, to)
	if err != nil {
		return err
	}
	c.Append(op...)
	c.u32(r)
	return nil
}

// Body implements Arch. Flags are not kept: nothing reads them at a function's
// entry.
func (AMD64) Body(c *Code, op uint32, param, blob uint64) error {
	low := []byte{0, 1, 2, 3, 5, 6, 7} // rax rcx rdx rbx rbp rsi rdi
	for _, r := range low {
		c.Append(0x50 + r) // push
	}
	for r := range byte(8) {
		c.Append(0x41, 0x50+r) // push r8..r15
	}
	c.Append(0x49, 0xbf) // mov r15, param
	c.u64(param)
	c.Append(0x41, 0xbe) // mov r14d, op
	c.u32(op)
	if err := c.branch(blob, 0xe8); err != nil {
		return err
	}
	for r := range byte(8) {
		c.Append(0x41, 0x58+7-r) // pop
	}
	for i := range low {
		c.Append(0x58 + low[len(low)-1-i])
	}
	return nil
}

// Branch implements Arch.
func (AMD64) Branch(c *Code, to uint64) error { return c.branch(to, 0xe9) }

// Return implements Arch.
func (AMD64) Return(c *Code) { c.Append(0xc3) }

// ReturnTrue implements Arch: mov eax, 1; ret.
func (AMD64) ReturnTrue(c *Code) { c.Append(0xb8, 1, 0, 0, 0, 0xc3) }

// Getter implements Arch: mov rax, [rdi+off]; ret.
func (AMD64) Getter(c *Code, off uint32) {
	c.Append(0x48, 0x8b, 0x87)
	c.u32(off)
	c.Append(0xc3)
}

// Jump implements Arch.
func (AMD64) Jump(addr, stub uint64) ([]byte, error) {
	r, err := rel32(addr+jumpLen, stub)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, r), nil
}

var endbr64 = [4]byte{0xf3, 0x0f, 0x1e, 0xfa}

// Entry implements Arch: endbr64.
func (AMD64) Entry(text []byte) int {
	if len(text) >= 4 && [4]byte(text) == endbr64 {
		return 4
	}
	return 0
}
