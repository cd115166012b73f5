//go:build linux

// Package stage is what the spawner and stage 1 say to each other, and how
// stage 1 is brought to life in its namespaces.
package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Config is what the spawner tells stage 1. Byte slices stand for strings that
// need not be UTF-8.
type Config struct {
	Probe   bool     // only report whether the namespaces can be used
	Path    []byte   // file to execute
	Argv    [][]byte //
	Env     [][]byte //
	TunPath string   // device to clone
	MTU     int      // of the tun
	IPv6    bool     // whether the sandbox gets IPv6
	Own6    bool     // ::1 stays the sandbox's own
	Hook    bool     // install the seccomp filter
	KillAll bool     // stage 1 is the init of a PID namespace

	Bounding uint64 // capability bounding set of the spawner

	Sysctls map[string]string // kernel parameters for the namespace, by their path below /proc/sys
}

// Names of the descriptors in Report.Files.
const (
	FileTun      = "tun"
	FileLoopback = "loopback" // not there where ::1 stays the sandbox's own
	FilePacket   = "packet"
	FileDiag     = "diag"
	FileListener = "listener"
)

// Steps that can fail, in Failure.
const (
	StepNamespace = "namespace"
	StepTun       = "tun"
	StepPacket    = "packet"
	StepNetwork   = "network"
	StepSeccomp   = "seccomp"
	StepProc      = "proc"
	StepExec      = "exec"
)

// Report is what stage 1 answers: descriptors, or why there are none.
type Report struct {
	Files    []string `json:"files,omitempty"` // of the descriptors in the same message
	TunIndex int      `json:"tunIndex,omitempty"`
	Killable bool     `json:"killable,omitempty"`
	Unhooked *Failure `json:"unhooked,omitempty"` // why there is no listener
	Failure  *Failure `json:"failure,omitempty"`
}

// Failure is an error of stage 1 on its way to the spawner.
type Failure struct {
	Step  string `json:"step"`
	What  string `json:"what"`
	Errno int    `json:"errno,omitempty"`
}

// Fail makes the Failure of err at a step.
func Fail(step string, err error) *Failure {
	f := &Failure{Step: step, What: err.Error()}
	var errno unix.Errno
	if errors.As(err, &errno) {
		f.Errno = int(errno)
		f.What = strings.TrimSuffix(strings.TrimSuffix(f.What, errno.Error()), ": ")
	}
	return f
}

func (f *Failure) Error() string {
	switch {
	case f.Errno == 0:
		return f.What
	case f.What == "":
		return unix.Errno(f.Errno).Error()
	}
	return f.What + ": " + unix.Errno(f.Errno).Error()
}

// Unwrap is the system's error, if there was one.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return unix.Errno(f.Errno)
}

const (
	controlEnv = "CLIPPER_STAGE1" // "CTL,CONFIG": descriptor numbers
	maxReport  = 8192             // bytes
	maxFiles   = 8
)

// Inside is stage 1's end of the control socket.
type Inside struct{ fd int }

// Open reads what the spawner left for stage 1.
func Open() (*Inside, *Config, error) {
	a, b, ok := strings.Cut(os.Getenv(controlEnv), ",")
	ctl, err1 := strconv.Atoi(a)
	cfg, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil {
		return nil, nil, errors.New("sandbox: stage 1 is started by clipper up, not by hand")
	}
	unix.CloseOnExec(ctl)
	f := os.NewFile(uintptr(cfg), "config")
	defer f.Close()
	// The spawner's write left the offset of the shared file at its end.
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, fmt.Errorf("sandbox: read the configuration: %w", err)
	}
	var c Config
	if err := json.NewDecoder(f).Decode(&c); err != nil {
		return nil, nil, fmt.Errorf("sandbox: read the configuration: %w", err)
	}
	return &Inside{fd: ctl}, &c, nil
}

// Send reports to the spawner.
func (in *Inside) Send(r *Report, fds ...int) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(b) > maxReport {
		return fmt.Errorf("sandbox: report of %d bytes", len(b))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	return unix.Sendmsg(in.fd, b, oob, nil, 0)
}

// Wait returns true when the spawner says go, false when it went away.
func (in *Inside) Wait() bool {
	var b [1]byte
	for {
		n, err := unix.Read(in.fd, b[:])
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}

// Close ends the conversation.
func (in *Inside) Close() { unix.Close(in.fd) }
