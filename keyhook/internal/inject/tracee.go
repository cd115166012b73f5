package inject

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"clipper/keyhook/internal/payload"
)

// tracee is a stopped task in which system calls are run.
type tracee struct {
	tid   int
	mem   memory
	saved registers
	mask  uint64
	gate  uint64 // address of a system call instruction
	slack uint64 // where the way back stands; 0: there is none

	// load makes mappings at once (dance.load); nil: they are made by calls.
	load func(*tracee, payload.Load) (uint64, error)
}

// begin blocks the task's signals and makes room to run system calls. slack is
// memory of its own that it does not use and may execute, payload.GateSize
// bytes of it: there the way back is written, so that the task comes to no
// harm if we are killed. Without slack (0) the gate must be set.
func (t *tracee) begin(slack uint64, ask [2]uint64) (err error) {
	if t.mask, err = sigmask(t.tid); err != nil {
		return fmt.Errorf("signal mask: %w", err)
	}
	if slack != 0 {
		c := payload.Code{Base: slack}
		payload.Native.Gate(&c, payload.Gate{Ask: ask, Mask: t.mask, Registers: t.saved.gateRegisters(), PC: t.saved.pc()})
		if err := t.write(slack, c.Bytes); err != nil {
			return fmt.Errorf("write a gate: %w", err)
		}
		t.gate, t.slack = slack, slack
		r := t.saved
		r.jump(slack + uint64(len(gateCode)))
		if err := r.set(t.tid); err != nil {
			return errGone
		}
	}
	code := make([]byte, len(gateCode))
	if _, err := t.mem.ReadAt(code, int64(t.gate)); err != nil || !bytes.Equal(code, gateCode) {
		return fmt.Errorf("no system call instruction at %#x", t.gate)
	}
	if err := setSigmask(t.tid, ^uint64(0)); err != nil {
		return fmt.Errorf("signal mask: %w", err)
	}
	return nil
}

// end restores signal mask and registers. The registers last: until then they
// lead to the way back.
func (t *tracee) end() error {
	return errors.Join(setSigmask(t.tid, t.mask), t.saved.set(t.tid))
}

// call runs one system call in the task. Entry and exit stops, not single
// steps or breakpoints: a forced SIGTRAP would reset the disposition of a
// blocked or ignored SIGTRAP.
func (t *tracee) call(nr uint64, args ...uint64) (uint64, error) {
	r := t.saved
	r.prepare(t.gate, nr, args)
	if err := r.set(t.tid); err != nil {
		return 0, errGone
	}
	sig := 0
	for stops := 0; stops < 2; {
		if err := unix.PtraceSyscall(t.tid, sig); err != nil {
			return 0, errGone
		}
		_, ws, err := wait()
		if err != nil || !ws.Stopped() {
			return 0, errGone
		}
		if sig = deliver(ws); event(ws) == 0 && ws.StopSignal() == syscallStop {
			stops++
		}
	}
	if err := r.get(t.tid); err != nil {
		return 0, errGone
	}
	if e := int64(r.result()); e < 0 && e > -4096 {
		return 0, unix.Errno(-e)
	}
	return r.result(), nil
}

// write writes to memory that the task itself may not be able to write to.
func (t *tracee) write(addr uint64, b []byte) error {
	_, err := t.mem.WriteAt(b, int64(addr))
	return err
}
