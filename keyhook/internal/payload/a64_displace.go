package payload

import (
	"encoding/binary"
	"fmt"
)

// Displaced implements Arch: one instruction, then a branch behind it.
// Instructions that refer to their own place are replaced by others.
func (ARM64) Displaced(c *Code, addr uint64, text []byte) (int, error) {
	if len(text) < 4 {
		return 0, fmt.Errorf("%w: function of %d bytes", ErrDisplace, len(text))
	}
	w := binary.LittleEndian.Uint32(text)
	if err := c.moveA64(addr, w); err != nil {
		return 0, err
	}
	if err := c.b(opB, addr+4); err != nil {
		return 0, err
	}
	return 4, nil
}

// signed takes n bits of w from bit at, as a signed number.
func signed(w uint32, at, n int) int64 {
	return int64(int32(w<<(32-at-n))) >> (32 - n)
}

// moveA64 appends what w does at pc (Arm Architecture Reference Manual, C4).
func (c *Code) moveA64(pc uint64, w uint32) error {
	rd := w & 31
	switch {
	case w&0x7c000000 == opB: // b, bl
		return c.b(w&0x80000000|opB, pc+uint64(signed(w, 0, 26)*4))
	case w&0x9f000000 == 0x10000000: // adr
		c.movWide(rd, pc+uint64(signed(w, 5, 19)<<2|int64(w>>29&3)))
	case w&0x9f000000 == 0x90000000: // adrp
		c.movWide(rd, pc&^0xfff+uint64((signed(w, 5, 19)<<2|int64(w>>29&3))<<12))
	case w&0xff000000 == 0x54000000, w&0x7e000000 == 0x34000000: // b.cond, cbz, cbnz
		return c.conditional(w&^(0x7ffff<<5)|2<<5, pc+uint64(signed(w, 5, 19)*4))
	case w&0x7e000000 == 0x36000000: // tbz, tbnz
		return c.conditional(w&^(0x3fff<<5)|2<<5, pc+uint64(signed(w, 5, 14)*4))
	case w&0x3b000000 == 0x18000000: // ldr (literal)
		c.movWide(scratch, pc+uint64(signed(w, 5, 19)*4))
		simd, opc := w>>26&1, w>>30
		loads := [2][4]uint32{{0xb9400000, 0xf9400000, 0xb9800000, 0}, {0xbd400000, 0xfd400000, 0x3dc00000, 0}}
		switch op := loads[simd][opc]; {
		case op != 0:
			c.u32(op | scratch<<5 | rd)
		case simd == 0: // prfm: no more than a hint
			c.u32(a64Nop)
		default:
			return fmt.Errorf("%w: %#08x", ErrDisplace, w)
		}
	default:
		c.u32(w)
	}
	return nil
}

// conditional appends a conditional branch w, whose target is the second
// instruction behind it, around a branch.
func (c *Code) conditional(w uint32, to uint64) error {
	c.u32(w)
	c.u32(opB | 2) // not taken: go on
	return c.b(opB, to)
}
