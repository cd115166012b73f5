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

// AskAgain is the errno (EAGAIN) that makes a task behind a Gate ask once more.
const AskAgain = 11

// Load are the mappings that a task makes by itself, in one go: two stops less
// for each than as borrowed calls. It then asks (Gate), whatever came of it.
// LoadResult says what: 0 if something failed, else the address of the ring,
// or 1 if none was to be mapped.
type Load struct {
	Code, CodeSize   uint64 // executable
	State, StateSize uint64 // writable; none if the size is 0
	Ring             [2]uint64
	RingSize         uint64 // the descriptor that execveat(Ring[0], Ring[1]) gives, writable and shared; none if 0
}
