//go:build linux

package doctor

import "fmt"

// Error is a failure together with the finding that explains it.
type Error struct {
	Finding Finding
	Err     error
}

func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Finding.Detail != "" {
		s += fmt.Sprintf("\n  %s: %s", e.Finding.Title, e.Finding.Detail)
	}
	if e.Finding.Fix != "" {
		s += "\n  to fix: " + e.Finding.Fix
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// stepProbes names the probe that explains the failure of a step of stage 1. Where
// it finds nothing, the namespaces are without rights.
var stepProbes = map[string]string{
	"tun":    "tun",
	"packet": "packet-ring",
}

// Explain runs the probes that belong to a failed step and returns an *Error if one
// fails too, otherwise err.
func Explain(step string, err error, o Options) error {
	for _, name := range []string{stepProbes[step], "user-namespaces"} {
		for _, p := range Probes {
			if p.Name != name {
				continue
			}
			if f := p.Examine(o); f.Status != OK {
				return &Error{Finding: f, Err: err}
			}
		}
	}
	return err
}
