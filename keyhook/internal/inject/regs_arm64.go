package inject

import (
	"debug/elf"

	"golang.org/x/sys/unix"
)

const machine = elf.EM_AARCH64

// registers are the general registers of a stopped task.
type registers struct{ unix.PtraceRegsArm64 }

const ntPrstatus = 1

func (r *registers) get(tid int) error {
	return unix.PtraceGetRegSetArm64(tid, ntPrstatus, &r.PtraceRegsArm64)
}

func (r *registers) set(tid int) error {
	return unix.PtraceSetRegSetArm64(tid, ntPrstatus, &r.PtraceRegsArm64)
}

// result is what a system call returned.
func (r *registers) result() uint64 { return r.Regs[0] }

// pc is the next instruction.
func (r *registers) pc() uint64 { return r.Pc }

// prepare sets the registers up to run one system call at gate. The kernel
// forgets the one the task was in before it stops it (do_signal).
func (r *registers) prepare(gate, nr uint64, args []uint64) {
	r.Pc, r.Regs[8] = gate, nr
	for i := range 6 {
		r.Regs[i] = 0
		if i < len(args) {
			r.Regs[i] = args[i]
		}
	}
}

// loadResult is what a payload.Load came to: there is none.
func (r *registers) loadResult() uint64 { return 0 }

// gateCode is the system call instruction: svc #0.
var gateCode = []byte{0x01, 0x00, 0x00, 0xd4}

// gateRegisters are the values in the order of payload.GateRegistersARM64.
func (r *registers) gateRegisters() []uint64 {
	return append(append([]uint64(nil), r.Regs[:6]...), r.Regs[8])
}

// jump makes pc the next instruction.
func (r *registers) jump(pc uint64) { r.Pc = pc }
