package inject

import (
	"debug/elf"

	"golang.org/x/sys/unix"
)

const machine = elf.EM_X86_64

// registers are the general registers of a stopped task.
type registers struct{ unix.PtraceRegs }

func (r *registers) get(tid int) error { return unix.PtraceGetRegs(tid, &r.PtraceRegs) }
func (r *registers) set(tid int) error { return unix.PtraceSetRegs(tid, &r.PtraceRegs) }

// result is what a system call returned.
func (r *registers) result() uint64 { return r.Rax }

// pc is the next instruction.
func (r *registers) pc() uint64 { return r.Rip }

// prepare sets the registers up to run one system call at gate. orig_rax -1
// keeps the kernel from restarting what the task was in.
func (r *registers) prepare(gate, nr uint64, args []uint64) {
	r.Orig_rax, r.Rax, r.Rip = ^uint64(0), nr, gate
	for i, p := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.R10, &r.R8, &r.R9} {
		*p = 0
		if i < len(args) {
			*p = args[i]
		}
	}
}

// loadResult is what a payload.Load came to.
func (r *registers) loadResult() uint64 { return r.R9 }

// gateCode is the system call instruction.
var gateCode = []byte{0x0f, 0x05}

// gateRegisters are the values in the order of payload.GateRegistersAMD64.
func (r *registers) gateRegisters() []uint64 {
	return []uint64{r.Rax, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.R8, r.R9, r.R10, r.R11}
}

// jump makes pc the next instruction, outside of any system call.
func (r *registers) jump(pc uint64) { r.Orig_rax, r.Rip = ^uint64(0), pc }
