//go:build linux

// Package doctor holds probes of what the machine allows, as values: what each
// needs, what breaks without it, and the one thing that fixes it.
package doctor

// Status of a probe.
type Status string

// Statuses.
const (
	OK      Status = "ok"
	Missing Status = "missing" // Breaks applies
	Limited Status = "limited" // works, with the restriction that Detail tells
)

// Probe is one capability.
type Probe struct {
	Name   string // "user-namespaces"
	Title  string // "unprivileged user namespaces"
	Kernel string // version that brought it, "3.8"
	Breaks string // what does not work without it
	Needed bool   // nothing works without it
	// Run asks the machine. detail is what was found, fix the one command or
	// setting that changes a status other than OK.
	Run func(Options) (s Status, detail, fix string)
}

// Options of the probes.
type Options struct {
	// Role is the argv with which this executable, run again, calls
	// sandbox.Stage1. Default: "clipper", "stage1".
	Role    []string
	TunPath string // default: $CLIPPER_TUN, else /dev/net/tun
	Exe     string // file to name in a profile; default: this executable
}

// Finding is the result of a probe.
type Finding struct {
	Name   string `json:"name"`
	Title  string `json:"title"`
	Kernel string `json:"kernel,omitempty"`
	Status Status `json:"status"`
	Detail string `json:"detail,omitempty"`
	Breaks string `json:"breaks,omitempty"` // set unless Status is OK
	Fix    string `json:"fix,omitempty"`
	Needed bool   `json:"needed,omitempty"`
}

// Examine runs every probe.
func Examine(o Options) []Finding {
	var all []Finding
	for _, p := range Probes {
		all = append(all, p.Examine(o))
	}
	return all
}

// Examine runs the probe.
func (p Probe) Examine(o Options) Finding {
	s, detail, fix := p.Run(o)
	f := Finding{Name: p.Name, Title: p.Title, Kernel: p.Kernel, Status: s, Detail: detail, Needed: p.Needed}
	if s != OK {
		f.Breaks, f.Fix = p.Breaks, fix
	}
	return f
}
