package exchange

import "clipper/bus"

// hooks is what the key hook said of the program that a process runs.
type hooks struct {
	exe    string
	reads  string         // a TLS library that is hooked, or needs no hook
	cannot *bus.ProcEvent // the last one that is impossible
}

func (f *Fold) hooked(e *bus.ProcEvent) {
	h, _ := f.hooks.get(e.PID)
	if h.exe != e.Exe { // another program since
		h = hooks{exe: e.Exe}
	}
	if e.State == bus.HookImpossible {
		h.cannot = e
	} else {
		h.reads = e.Library
	}
	f.hooks.put(e.PID, h)
}

const helpKeyLog = "If the program can log its secrets to a file by itself, record the packets with -w and give both to `clipper read --keylog`."

// Explain adds to a verdict for want of a secret what is known of the program's
// TLS library, as far as hook events have come. Call it once, with v.Process
// filled in.
func (f *Fold) Explain(v *Verdict) {
	if v.Verdict.Code != bus.VerdictNoSecret || v.Process.Exe == "" {
		return
	}
	h, _ := f.hooks.get(v.Process.PID)
	if h.exe != v.Process.Exe {
		h = hooks{}
	}
	why, help := "No TLS library that Clipper knows was found in the program.", ""
	switch {
	case h.cannot != nil && h.cannot.Library != "":
		why, help = "The program's TLS library is "+h.cannot.Library+". "+h.cannot.Reason, h.cannot.Help
	case h.cannot != nil:
		why, help = h.cannot.Reason, h.cannot.Help
	case h.reads != "":
		why = "The program's " + h.reads + " is read, so the connection is another library's, which was not found."
	}
	if help == "" {
		help = helpKeyLog
	}
	v.Verdict.Reason += " " + why
	v.Verdict.Help = help
}
