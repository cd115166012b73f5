// Package roles looks after the processes of a session: it starts each role,
// restarts one that died, and ends them in order. What flows in are
// specifications; what flows out are processes, and a word when one keeps dying.
package roles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"clipper/bus/natsbus"
)

// Environment variables of a role process.
const (
	EnvAccess  = natsbus.AccessEnv  // path of the file that says how to reach the bus
	EnvOptions = natsbus.OptionsEnv // JSON, the role's own options
)

// Spec says how to run a role.
type Spec struct {
	Name    string
	Path    string     // of the program; "" is this one, with Name as its first argument
	Access  string     // path of the file that says how to reach the bus, for EnvAccess
	Options any        // becomes EnvOptions
	Files   []*os.File // become descriptors 3, 4, …; the supervisor's until the role is stopped
	Final   bool       // ends by itself with status 0 when its work is done, once Ending was called
	Ended   func()     // called each time that its process has ended; nil: nobody asks
	Orphan  bool       // finds out by itself that this process was killed; others are killed with it
	Yields  bool       // gives way to the app where processors are short: see Yield
}

// A role that dies more often than this within the window is given up.
const (
	maxDeaths   = 5
	deathWindow = 10 * time.Second
	logTail     = 4 << 10 // bytes of a role's last words kept for the report
)

// Supervisor runs the roles of one session.
type Supervisor struct {
	Stderr *os.File                     // where the roles' words go instead of LogDir; nil: LogDir
	LogDir string                       // each role's standard error goes to LogDir/NAME.log
	GaveUp func(role string, err error) // a role kept dying and will not be started again

	mu     sync.Mutex
	roles  map[string]*role
	ending bool

	forker, yielding forker
}

type role struct {
	spec     Spec
	cmd      *exec.Cmd
	stopping bool // told to end
	early    bool // ended before Ending as if its work were done: no program of ours does
	overdue  bool // killed because it did not
	restart  bool // killed on purpose: start again at once, not counted
	deaths   []time.Time
	done     chan struct{} // closed when it will not run any more
	err      error
	starts   int
}

// Start starts a role and keeps it running.
func (s *Supervisor) Start(spec Spec) error {
	r := &role{spec: spec, done: make(chan struct{})}
	s.mu.Lock()
	if s.roles == nil {
		s.roles = map[string]*role{}
	}
	s.roles[spec.Name] = r
	defer s.mu.Unlock()
	return s.launchOrEnd(r)
}

// launchOrEnd starts the process of r, which has ended for good if that fails; s.mu is held.
func (s *Supervisor) launchOrEnd(r *role) error {
	err := s.launch(r)
	if err != nil {
		r.err = err
		close(r.done)
	}
	return err
}

// launch starts the process of r; s.mu is held.
func (s *Supervisor) launch(r *role) error {
	path, args := r.spec.Path, []string{}
	if path == "" {
		path, args = "/proc/self/exe", []string{r.spec.Name}
	}
	cmd := exec.Command(path, args...)
	cmd.Args[0] = "clipper"
	if r.spec.Path != "" {
		cmd.Args[0] = filepath.Base(r.spec.Path)
	}
	cmd.Env = append(os.Environ(), EnvAccess+"="+r.spec.Access)
	if r.spec.Options != nil {
		b, err := json.Marshal(r.spec.Options)
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, EnvOptions+"="+string(b))
	}
	if r.stopping {
		cmd.Env = append(cmd.Env, natsbus.EndEnv+"=1")
	}
	cmd.ExtraFiles = r.spec.Files
	log, err := os.OpenFile(s.logPath(r.spec.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	if s.Stderr != nil {
		// By a pipe: a terminal may stop background processes that write to it (stty tostop).
		cmd.Stderr = struct{ io.Writer }{s.Stderr}
	}
	// A process group of its own: the terminal's Ctrl-C and Ctrl-Z are the app's. It
	// stays in the session, which the kernel schedules as one (sched(7), "autogroup"):
	// else each role would get as much of the processors as the app and all it starts.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !r.spec.Orphan {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	s.fork(r.spec.Yields, func() { err = cmd.Start() })
	if err != nil {
		return fmt.Errorf("start %s: %w", r.spec.Name, err)
	}
	r.cmd = cmd
	r.starts++
	go s.watch(r, cmd)
	return nil
}

// watch waits for one process of r and decides what follows.
func (s *Supervisor) watch(r *role, cmd *exec.Cmd) {
	err := cmd.Wait()
	if r.spec.Ended != nil {
		r.spec.Ended()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.stopping && (r.overdue || !interrupted(r, cmd)), r.spec.Final && err == nil && s.ending && !r.early:
		close(r.done)
		return
	case r.restart:
		r.restart = false
	default:
		r.early = r.early || r.spec.Final && err == nil
		now := time.Now()
		r.deaths = append(r.deaths, now)
		for now.Sub(r.deaths[0]) > deathWindow {
			r.deaths = r.deaths[1:]
		}
		if len(r.deaths) > maxDeaths {
			if err == nil {
				err = errors.New("it ended before its work was done")
			}
			r.err = fmt.Errorf("%s: %w, %d times in a row%s", r.title(), err, len(r.deaths), s.LastWords(r.spec.Name))
			close(r.done)
			if s.GaveUp != nil {
				go s.GaveUp(r.spec.Name, r.err)
			}
			return
		}
	}
	if err := s.launchOrEnd(r); err != nil {
		if s.GaveUp != nil {
			go s.GaveUp(r.spec.Name, err)
		}
	}
}

// title names the role, and the program if that is not Clipper's own.
func (r *role) title() string {
	if r.spec.Path == "" {
		return r.spec.Name
	}
	return r.spec.Name + " (" + r.spec.Path + ")"
}

// Ending says that the work of roles that are Final may be done from now on.
func (s *Supervisor) Ending() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
}

// interrupted reports whether a process that had been told to end died before it
// could do so in order. A role of ours does not die of SIGTERM once it listens.
func interrupted(r *role, cmd *exec.Cmd) bool {
	st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && st.Signaled() && (st.Signal() != syscall.SIGTERM || r.spec.Path == "")
}

func (s *Supervisor) logPath(name string) string { return filepath.Join(s.LogDir, name+".log") }

// LastWords is the end of a role's log, on lines of its own; empty without a log.
func (s *Supervisor) LastWords(name string) string {
	b, err := os.ReadFile(s.logPath(name))
	if err != nil || len(b) == 0 {
		return ""
	}
	if len(b) > logTail {
		b = b[len(b)-logTail:]
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	return "\n  " + strings.ReplaceAll(string(bytes.Join(lines, []byte("\n"))), "\n", "\n  ")
}

// Stop asks a role to end with SIGTERM, waits for it, and after the limit kills it.
func (s *Supervisor) Stop(name string, limit time.Duration) error {
	s.mu.Lock()
	r := s.roles[name]
	if r == nil {
		s.mu.Unlock()
		return nil
	}
	r.stopping = true
	p := r.cmd
	s.mu.Unlock()
	select {
	case <-r.done:
		return nil // whoever waits for it has been told why
	default:
	}
	p.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.done:
		return r.err
	case <-time.After(limit):
		s.mu.Lock()
		r.overdue = true
		r.cmd.Process.Kill()
		s.mu.Unlock()
		<-r.done
		return fmt.Errorf("%s did not end within %v%s", name, limit, s.LastWords(name))
	}
}

// Leave lets the process of a role live on, which nobody looks after any more.
func (s *Supervisor) Leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.roles[name]; r != nil {
		r.stopping = true
		delete(s.roles, name)
	}
}

// StopAll stops every role, all at the same time.
func (s *Supervisor) StopAll(limit time.Duration) {
	var wg sync.WaitGroup
	for _, st := range s.States() {
		wg.Go(func() { s.Stop(st.Name, limit) })
	}
	wg.Wait()
}

// Done is closed when the role will not run any more.
func (s *Supervisor) Done(name string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roles[name].done
}

// Err is why the role was given up, after Done.
func (s *Supervisor) Err(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roles[name].err
}

// Restart kills a role; it is started again at once, from path if that is not "".
func (s *Supervisor) Restart(name, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.roles[name]
	if r == nil || r.stopping {
		return fmt.Errorf("no role %q runs in this session", name)
	}
	if path != "" {
		r.spec.Path = path
	}
	select {
	case <-r.done: // it had been given up, or was done
		r.done, r.err, r.deaths, r.early = make(chan struct{}), nil, nil, false
		return s.launchOrEnd(r)
	default:
	}
	r.restart = true
	return r.cmd.Process.Kill()
}

// State is a role as `clipper ps` shows it.
type State struct {
	Name   string `json:"name"`
	PID    int    `json:"pid,omitempty"` // 0: not running
	Starts int    `json:"starts"`
	Path   string `json:"path,omitempty"`
	Error  string `json:"error,omitempty"`
}

// States lists the roles.
func (s *Supervisor) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []State
	for _, r := range s.roles {
		st := State{Name: r.spec.Name, Starts: r.starts, Path: r.spec.Path}
		select {
		case <-r.done:
			if r.err != nil {
				st.Error = r.err.Error()
			}
		default:
			st.PID = r.cmd.Process.Pid
		}
		all = append(all, st)
	}
	return all
}
