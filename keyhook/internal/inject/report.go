package inject

import (
	"fmt"
	"time"

	"clipper/bus"
	"clipper/keyhook/internal/scan"
)

// reason is why a program is not hooked, and what would help; help may be "".
type reason struct{ text, help string }

var (
	foreign = reason{"The program is not for this machine's 64-bit mode; such programs are left alone.", "A 64-bit build of it can be read."}
	traced  = reason{"The program was being traced already (debugger, strace) when it started.", "Attach the tracer when the program has started: it is hooked by then."}
	crowded = reason{"Too many programs were being started at once.", "Start the program again."}
	missed  = reason{"The hook's supervisor was restarted at the moment the program was to be hooked.", "Start the program again."}
	stuck   = reason{"The file system of the program's file does not answer.", ""}
	slow    = reason{"The search of the program's file took too long.", "Start the program again: the search goes on meanwhile."}
)

func untraceable(err error) reason {
	return reason{"The kernel does not let the program be traced: " + err.Error() + ".", "`clipper doctor` says whether the machine forbids it."}
}

func failed(err error) reason {
	return reason{fmt.Sprintf("The hook could not be placed: %v.", err), ""}
}

// verdict is the hook event of a file that is not hooked, nil for one without a
// TLS library.
func verdict(res *scan.Result) *bus.ProcEvent {
	switch {
	case res == nil:
		return nil
	case res.Foreign:
		return impossible(res, foreign)
	case res.Library == "":
		return nil
	case res.Covered:
		return &bus.ProcEvent{State: bus.HookNotNeeded, Library: res.Library, Mechanism: res.Mechanism, Reason: res.Reason}
	}
	return impossible(res, reason{res.Reason, res.Help})
}

func impossible(res *scan.Result, why reason) *bus.ProcEvent {
	e := &bus.ProcEvent{State: bus.HookImpossible, Reason: why.text, Help: why.help}
	if res != nil {
		e.Library, e.Mechanism = res.Library, res.Mechanism
	}
	return e
}

// hookEvent publishes the event of a task's process; e may be nil.
func (s *Supervisor) hookEvent(tid int, e *bus.ProcEvent) {
	if e == nil {
		return
	}
	e.Type, e.Time, e.PID = bus.ProcHook, time.Now().UnixNano(), threadGroup(tid)
	e.Exe = readlink(procPath(e.PID, "exe"))
	s.Report(e, nil)
}

func (s *Supervisor) impossible(tid int, res *scan.Result, why reason) {
	s.hookEvent(tid, impossible(res, why))
}

func (s *Supervisor) placed(tid int, res *scan.Result) {
	s.hookEvent(tid, &bus.ProcEvent{State: bus.HookPlaced, Library: res.Library, Mechanism: res.Mechanism})
}
