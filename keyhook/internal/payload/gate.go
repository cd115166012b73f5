package payload

// Gate is a system call instruction to borrow, and behind it the way back: if
// the supervisor is killed while it borrows the task, the task runs on into
// it. It then makes one more system call, execveat(Ask[0], Ask[1]), which is
// notified and waits for the next supervisor, restores its signal mask and its
// registers, and goes on where it was stopped.
type Gate struct {
	Ask       [2]uint64
	Mask      uint64
	Registers []uint64 // in the order of the architecture's GateRegisters
	PC        uint64
}
