package translate

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"clipper/bus"
	"clipper/bus/explain"
	"clipper/cdpgw/internal/cdp"
)

// Process is one program that ran under a pid: an exec makes a new one.
type Process struct {
	PID    int
	Parent int
	Exe    string
	Argv   []string
	Cwd    string
	Exited bool
	Hooks  []string // what the key hook did, one sentence each

	id        string // script id
	parent    *Process
	started   int64
	announced bool
	spoke     bool // opened a connection
	hooks     explain.Hooks
}

// Spoke reports whether the process opened a connection; others are announced
// as its ancestors.
func (p *Process) Spoke() bool { return p.spoke }

// ID is the process's script id.
func (p *Process) ID() string { return p.id }

// Name is the last element of the executable's path.
func (p *Process) Name() string {
	switch {
	case p.Exe != "":
		return path.Base(p.Exe)
	case len(p.Argv) > 0 && p.Argv[0] != "":
		return path.Base(p.Argv[0])
	}
	return "process"
}

// Command is the command line, quoted for a shell.
func (p *Process) Command() string {
	if len(p.Argv) == 0 {
		return p.Exe
	}
	q := make([]string, len(p.Argv))
	for i, a := range p.Argv {
		q[i] = quote(a)
	}
	return strings.Join(q, " ")
}

// quote is s as one word of a POSIX shell.
func quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%^") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// URL names the process where the protocol wants a document or script.
func (p *Process) URL() string {
	return "process://" + p.id + "/" + url.PathEscape(p.Name())
}

func (p *Process) label() string { return p.Name() + " [pid " + strconv.Itoa(p.PID) + "]" }

// Source is the text of the process's "script": what is known of it.
func (p *Process) Source() string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\n", p.label())
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "// %-12s%s\n", name, strings.ReplaceAll(cdp.Text(value), "\n", "\n//             "))
		}
	}
	line("command", p.Command())
	line("executable", p.Exe)
	line("directory", p.Cwd)
	for _, a := range p.ancestors() {
		line("started by", a.label()+"  "+a.Command())
	}
	for _, h := range p.Hooks {
		line("TLS secrets", h)
	}
	return b.String()
}

// ancestors are the parents that are known, nearest first.
func (p *Process) ancestors() []*Process {
	var out []*Process
	for a := p.parent; a != nil && len(out) < 16; a = a.parent {
		out = append(out, a)
	}
	return out
}

// initiator shows p as a call stack: itself, its command line, its parents.
func (p *Process) initiator() cdp.Initiator {
	if p == nil {
		return cdp.Initiator{Type: "other"}
	}
	frame := func(q *Process, name string) cdp.CallFrame {
		return cdp.CallFrame{FunctionName: cdp.Text(name), ScriptID: q.id, URL: q.URL()}
	}
	frames := []cdp.CallFrame{frame(p, p.label())}
	if c := p.Command(); c != "" {
		frames = append(frames, frame(p, c))
	}
	for _, a := range p.ancestors() {
		frames = append(frames, frame(a, a.label()))
	}
	return cdp.Initiator{Type: "script", Stack: &cdp.StackTrace{CallFrames: frames}}
}

// Script is the announcement of the process as a script.
func (p *Process) Script() cdp.ScriptParsed {
	source := p.Source()
	return cdp.ScriptParsed{ScriptID: p.id, URL: p.URL(), EndLine: strings.Count(source, "\n"), ExecutionContextID: 1,
		Length: len(source), ScriptLanguage: "JavaScript"}
}

// processes are the programs of each pid, oldest first.
type processes struct {
	byPID    map[int][]*Process
	count    int
	expected bool // exec events come, so an unknown pid is worth a wait
}

func newProcesses() processes { return processes{byPID: map[int][]*Process{}, expected: true} }

func (s *processes) add(p *Process) *Process {
	if s.count >= maxProcesses {
		clear(s.byPID)
		s.count = 0
	}
	s.count++
	p.id = strconv.Itoa(p.PID)
	if n := len(s.byPID[p.PID]); n > 0 {
		p.id += "." + strconv.Itoa(n)
	}
	s.byPID[p.PID] = append(s.byPID[p.PID], p)
	return p
}

func (s *processes) exec(e *bus.ProcEvent) {
	s.expected = true
	if old := s.at(e.PID, 0); old != nil && old.started == e.Time && old.started != 0 {
		return
	}
	p := s.add(&Process{PID: e.PID, Parent: e.Parent, Exe: e.Exe, Argv: slices.Clone(e.Argv), Cwd: e.Cwd, started: e.Time})
	if e.Parent != 0 && e.Parent != e.PID {
		p.parent = s.at(e.Parent, e.Time)
	}
}

func (s *processes) exit(e *bus.ProcEvent) {
	if p := s.at(e.PID, e.Time); p != nil {
		p.Exited = true
	}
}

func (s *processes) hook(e *bus.ProcEvent) {
	p := s.at(e.PID, e.Time)
	if p == nil {
		return
	}
	p.hooks.Take(e)
	if len(p.Hooks) >= 16 {
		return
	}
	text := e.State
	for _, part := range []string{e.Library, e.Mechanism, e.Reason} {
		if part != "" {
			text += ", " + part
		}
	}
	p.Hooks = append(p.Hooks, text)
}

// at is the program that pid ran at a time (Unix ns), or its first one; nil
// when the pid is unknown. Time 0 means now.
func (s *processes) at(pid int, time int64) *Process {
	list := s.byPID[pid]
	if len(list) == 0 {
		return nil
	}
	if time == 0 {
		return list[len(list)-1]
	}
	for _, p := range slices.Backward(list) {
		if p.started <= time {
			return p
		}
	}
	return list[0]
}

// guess makes a process of which only the pid, and perhaps the executable, is known.
func (s *processes) guess(pid int, tls *bus.TLSInfo) *Process {
	if p := s.at(pid, 0); p != nil {
		return p
	}
	p := &Process{PID: pid}
	if tls != nil && tls.PID == pid {
		p.Exe = tls.Executable
	}
	return s.add(p)
}
