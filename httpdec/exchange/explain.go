package exchange

import (
	"clipper/bus"
	"clipper/bus/explain"
)

// hooks is what the key hook said of the program that a process runs.
type hooks struct {
	exe string
	explain.Hooks
}

func (f *Fold) hooked(e *bus.ProcEvent) {
	h, _ := f.hooks.get(e.PID)
	if h.exe != e.Exe { // another program since
		h = hooks{exe: e.Exe}
	}
	h.Take(e)
	f.hooks.put(e.PID, h)
}

// Explain adds to a verdict for want of a secret what is known of the program's
// TLS library, as far as hook events have come. Call it once, with v.Process
// filled in.
func (f *Fold) Explain(v *Verdict) {
	if v.Process.Exe == "" {
		return
	}
	h, _ := f.hooks.get(v.Process.PID)
	if h.exe != v.Process.Exe {
		h = hooks{}
	}
	v.Verdict = h.Verdict(v.Verdict)
}
