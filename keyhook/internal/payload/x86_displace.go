package payload

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// Displaced implements Arch. Whole instructions of together at least 5 bytes
// are moved; RIP-relative operands and branches are adapted.
func (AMD64) Displaced(c *Code, addr uint64, text []byte) (int, error) {
	n := 0
	ended := false // behind an unconditional ret or jmp
	for n < jumpLen {
		if n >= len(text) {
			return 0, fmt.Errorf("%w: function of %d bytes", ErrDisplace, len(text))
		}
		if ended {
			p := padding(text[n:])
			if p == 0 {
				return 0, fmt.Errorf("%w: function of %d bytes", ErrDisplace, n)
			}
			n += p
			continue
		}
		in, err := x86asm.Decode(text[n:], 64)
		if err != nil {
			return 0, fmt.Errorf("%w: at +%d: %w", ErrDisplace, n, err)
		}
		if ended, err = moveX86(c, addr, addr+uint64(n), text[n:n+in.Len], in); err != nil {
			return 0, err
		}
		n += in.Len
	}
	if err := noBranchInto(text, n); err != nil {
		return 0, err
	}
	if !ended {
		if err := c.branch(addr+uint64(n), 0xe9); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// padding is the length of the next piece of padding between functions; 0 if
// there is something else.
func padding(text []byte) int {
	if b := text[0]; b == 0xcc || b == 0x90 || b == 0x00 {
		return 1
	}
	if in, err := x86asm.Decode(text, 64); err == nil && in.Op == x86asm.NOP {
		return in.Len
	}
	return 0
}

// moveX86 appends the instruction b, which stands at pc; start is where the
// jump will be. last says that control does not go on behind it.
func moveX86(c *Code, start, pc uint64, b []byte, in x86asm.Inst) (last bool, err error) {
	next := pc + uint64(in.Len)
	rel, isBranch := in.Args[0].(x86asm.Rel)
	switch {
	case in.PCRel == 0:
		c.Append(b...)
		return in.Op == x86asm.RET || in.Op == x86asm.JMP, nil
	case isBranch:
		to := next + uint64(int64(rel))
		if to > start && to < start+jumpLen {
			return false, fmt.Errorf("%w: branch into them", ErrDisplace)
		}
		switch {
		case in.Op == x86asm.JMP:
			return true, c.branch(to, 0xe9)
		case in.Op == x86asm.CALL: // a real call: fit for shadow stacks
			return false, c.branch(to, 0xe8)
		case b[0] >= 0x70 && b[0] <= 0x7f:
			return false, c.branch(to, 0x0f, b[0]+0x10)
		case b[0] == 0x0f && b[1] >= 0x80 && b[1] <= 0x8f:
			return false, c.branch(to, 0x0f, b[1])
		}
	case in.PCRel == 4 && in.PCRelOff+4 <= len(b): // RIP-relative memory operand
		disp := int64(int32(binary.LittleEndian.Uint32(b[in.PCRelOff:])))
		r, err := rel32(c.Here()+uint64(in.Len), next+uint64(disp))
		if err != nil {
			return false, err
		}
		at := len(c.Bytes) + in.PCRelOff
		c.Append(b...)
		binary.LittleEndian.PutUint32(c.Bytes[at:], r)
		return false, nil
	}
	return false, fmt.Errorf("%w: %v", ErrDisplace, in)
}

// noBranchInto looks through the rest of the function for branches into its
// first n bytes, behind the first.
func noBranchInto(text []byte, n int) error {
	for o := n; o < len(text); {
		in, err := x86asm.Decode(text[o:], 64)
		if err != nil {
			o++ // unknown to the decoder: go on bytewise
			continue
		}
		o += in.Len
		if r, ok := in.Args[0].(x86asm.Rel); ok {
			if to := int64(o) + int64(r); to > 0 && to < int64(n) {
				return fmt.Errorf("%w: branch at +%#x into them", ErrDisplace, o-in.Len)
			}
		}
	}
	return nil
}
