package bus

import "net/netip"

// ProcType says what happened to a process.
type ProcType string

// Process events.
const (
	ProcExec   ProcType = "exec"   // Exe, Argv, Cwd, Parent
	ProcExit   ProcType = "exit"   //
	ProcHook   ProcType = "hook"   // Library, Mechanism, State, Reason, Help
	ProcSocket ProcType = "socket" // Transport, Local, Remote: PID opened this connection
	// ProcBlocked: Transport, Local, Remote: this connection was refused or cut
	// because DevTools blocks its host.
	ProcBlocked ProcType = "blocked"
	ProcEOS     ProcType = "eos" // this writer is done
)

// Hook states.
const (
	HookPlaced     = "placed"
	HookNotNeeded  = "not-needed"
	HookImpossible = "impossible"
)

// ProcEvent is one line of the Proc layer. PIDs are those of the host.
type ProcEvent struct {
	Type      ProcType       `json:"type"`
	Time      int64          `json:"time"` // Unix ns
	PID       int            `json:"pid,omitempty"`
	Parent    int            `json:"parent,omitempty"`
	Exe       string         `json:"exe,omitempty"`
	Argv      []string       `json:"argv,omitempty"`
	Cwd       string         `json:"cwd,omitempty"`
	Library   string         `json:"library,omitempty"`
	Mechanism string         `json:"mechanism,omitempty"`
	State     string         `json:"state,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Help      string         `json:"help,omitempty"` // what would make the library's connections readable
	Transport string         `json:"transport,omitempty"`
	Local     netip.AddrPort `json:"local,omitzero"`
	Remote    netip.AddrPort `json:"remote,omitzero"`
}
