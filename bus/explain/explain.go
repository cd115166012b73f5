// Package explain says why a connection has no secret by what the key hook found
// in its program. Hook events go in; what they tell goes into a verdict.
package explain

import "clipper/bus"

// Hooks is what the key hook said of one program. The zero value is nothing.
type Hooks struct {
	reads  string // a TLS library that is hooked, or needs no hook
	cannot *cannot
}

// cannot is the last library that could not be hooked.
type cannot struct{ library, reason, help string }

// Take takes an event of the type bus.ProcHook about the program.
func (h *Hooks) Take(e *bus.ProcEvent) {
	if e.State == bus.HookImpossible {
		h.cannot = &cannot{e.Library, e.Reason, e.Help}
	} else {
		h.reads = e.Library
	}
}

// HelpKeyLog is what helps where nothing else is known.
const HelpKeyLog = "If the program can log its secrets to a file by itself, record the packets with -w and give both to `clipper read --keylog`."

// Verdict adds to a verdict for want of a secret what is known of the program's
// TLS library. Other verdicts stay as they are.
func (h Hooks) Verdict(v bus.Verdict) bus.Verdict {
	if v.Code != bus.VerdictNoSecret {
		return v
	}
	why, help := "No TLS library that Clipper knows was found in the program.", ""
	switch {
	case h.cannot != nil && h.cannot.library != "":
		why, help = "The program's TLS library is "+h.cannot.library+". "+h.cannot.reason, h.cannot.help
	case h.cannot != nil:
		why, help = h.cannot.reason, h.cannot.help
	case h.reads != "":
		why = "The program's " + h.reads + " is read, so the connection is another library's, which was not found."
	}
	if help == "" {
		help = HelpKeyLog
	}
	v.Reason += " " + why
	v.Help = help
	return v
}
