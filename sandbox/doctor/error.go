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

// stepProbes names the probe that explains the failure of a step of stage 1.
var stepProbes = map[string]string{
	"namespace": "user-namespaces",
	"tun":       "tun",
	"packet":    "packet-ring",
	"network":   "user-namespaces",
	"seccomp":   "seccomp-notify",
}

// Explain runs the probe that belongs to a failed step and returns an *Error if
// the probe fails too, otherwise err.
func Explain(step string, err error, o Options) error {
	for _, p := range Probes {
		if p.Name == stepProbes[step] {
			if f := p.Examine(o); f.Status != OK {
				return &Error{Finding: f, Err: err}
			}
		}
	}
	return err
}
