//go:build linux

package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"clipper/sandbox/doctor"
	"clipper/sandbox/internal/netns"
	"clipper/sandbox/internal/stage"
	"clipper/sandbox/internal/subnet"

	"golang.org/x/sys/unix"
)

// Sandbox is a started sandbox. The files belong to the caller, who may close
// each as soon as the role that needs it has it; Close closes what is left.
type Sandbox struct {
	Tun      *os.File // tun with IFF_VNET_HDR, checksum and TCP segmentation offload
	Packet   *os.File // socket(AF_PACKET, SOCK_RAW, 0), for capture.Setup
	Diag     *os.File // NETLINK_SOCK_DIAG socket of the namespace
	Loopback *os.File // packet socket by which packets reach ::1; nil where ::1 stays the sandbox's own
	Listener *os.File // seccomp listener; nil without Spec.Hook, or see Unhooked

	// Unhooked is why there is no listener although Spec.Hook is set: EBUSY if the
	// caller itself runs under somebody's listener, of which there can be but one.
	Unhooked error

	// Killable: the listener has SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (5.19).
	Killable bool

	PID      int    // of the program (of its init with KillAll), as the host sees it
	Path     string // the file that is executed
	TunIndex int    // interface index of the tun in the namespace
	LoIndex  int    // interface index of lo: 1
	MTU      int    // of the tun
	IPv6     bool   // whether the sandbox has IPv6

	name    string
	killAll bool
	ns      netns.ID // 0 if unknown
	process *stage.Process
	signals *forwarder
	close   sync.Once
	unplug  sync.Once
}

// MaxMTU is the largest MTU of the tun, and the default: the virtio header and
// a full packet then fit the 64 KiB that netd reads at once.
const MaxMTU = 65520

// DefaultTun is the clone device for tun interfaces.
const DefaultTun = "/dev/net/tun"

// TunEnv names the environment variable that overrides DefaultTun.
const TunEnv = "CLIPPER_TUN"

// Start makes the namespaces and everything in them, up to the program's
// execve, which waits for Release. The command is looked up first: an error of
// type *CommandError means that nothing else was done. An error of type
// *doctor.Error names what this machine lacks and how to get it.
//
// From here to the return of Wait, signals that ask something of a program (SIGTERM,
// SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM) are passed on to it; those of
// the terminal it gets by itself.
func Start(spec Spec) (*Sandbox, error) {
	if len(spec.Argv) == 0 {
		return nil, errors.New("sandbox: no command")
	}
	if spec.MTU == 0 {
		spec.MTU = MaxMTU
	}
	if spec.MTU < 1280 || spec.MTU > MaxMTU {
		return nil, fmt.Errorf("sandbox: MTU %d: 1280 to %d are possible", spec.MTU, MaxMTU)
	}
	if spec.Env == nil {
		spec.Env = os.Environ()
	}
	if spec.TunPath == "" {
		spec.TunPath = os.Getenv(TunEnv)
	}
	if spec.TunPath == "" {
		spec.TunPath = DefaultTun
	}
	path, _ := lookEnv(spec.Env, "PATH")
	file, err := lookCommand(spec.Argv[0], path)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{Path: file, MTU: spec.MTU, IPv6: !spec.NoIPv6 && HostIPv6(), LoIndex: subnet.LoIndex, name: spec.Argv[0], killAll: spec.KillAll}
	stdio := [3]*os.File{spec.Stdin, spec.Stdout, spec.Stderr}
	for i, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if stdio[i] == nil {
			stdio[i] = f
		}
	}
	diagnose := doctor.Options{Role: spec.Role, TunPath: spec.TunPath}
	s.process, err = stage.Spawn(spec.Role, &stage.Config{
		Path: []byte(file), Argv: byteSlices(spec.Argv), Env: byteSlices(spec.Env),
		TunPath: spec.TunPath, MTU: spec.MTU, IPv6: s.IPv6, Own6: spec.OwnLoopback6, Hook: spec.Hook, KillAll: spec.KillAll,
		Bounding: stage.Bounding(), Sysctls: hostSysctls(),
	}, stdio)
	if err != nil {
		return nil, doctor.Explain(stage.StepNamespace, fmt.Errorf("sandbox: %w", err), diagnose)
	}
	s.PID = s.process.PID
	s.signals = forwardSignals(s.process)
	if err := s.receive(); err != nil {
		s.Close()
		if f, ok := errors.AsType[*stage.Failure](err); ok {
			return nil, doctor.Explain(f.Step, fmt.Errorf("sandbox: %w", err), diagnose)
		}
		return nil, err
	}
	return s, nil
}

// receive takes over what stage 1 made.
func (s *Sandbox) receive() error {
	r, files, err := s.process.Receive()
	if err == io.EOF {
		<-s.process.Done()
		st, _ := s.process.Status()
		return fmt.Errorf("sandbox: stage 1 ended with status %d before the namespaces stood", exitCode(st))
	}
	if err != nil {
		return err
	}
	s.Tun, s.Packet = files[stage.FileTun], files[stage.FilePacket]
	s.Diag, s.Listener = files[stage.FileDiag], files[stage.FileListener]
	s.Loopback = files[stage.FileLoopback]
	s.TunIndex, s.Killable = r.TunIndex, r.Killable
	if r.Unhooked != nil {
		s.Unhooked = r.Unhooked
	}
	if r.Failure != nil {
		return r.Failure
	}
	if s.Tun == nil || s.Packet == nil || s.Diag == nil {
		return fmt.Errorf("sandbox: stage 1 sent only %v", r.Files)
	}
	if rc, err := s.Diag.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { s.ns, _ = netns.OfSocket(int(fd)) })
	}
	return nil
}

// Release lets the program run and returns when its execve has succeeded, or
// with an error of type *CommandError when it failed. With Spec.Hook the execve
// waits for whoever serves the Listener.
func (s *Sandbox) Release() error {
	// From before the program runs, which may be stopped at once.
	followStops(s.process, s.killAll)
	if err := s.process.Go(); err != nil {
		return fmt.Errorf("sandbox: release the program: %w", err)
	}
	defer s.process.CloseControl()
	r, _, err := s.process.Receive()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Failure == nil {
		return errors.New("sandbox: unexpected report of stage 1")
	}
	if r.Failure.Step != stage.StepExec {
		return fmt.Errorf("sandbox: %w", r.Failure)
	}
	return execError(s.name, s.Path, unix.Errno(r.Failure.Errno))
}

// Wait waits for the end of the program and returns its exit status, 128+n
// after signal n.
func (s *Sandbox) Wait() (int, error) {
	<-s.process.Done()
	s.signals.stop()
	st, err := s.process.Status()
	if err != nil {
		return 0, fmt.Errorf("sandbox: wait for %s: %w", s.name, err)
	}
	return exitCode(st), nil
}

// Done is closed when the program has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.process.Done() }

// Signal sends a signal to the program.
func (s *Sandbox) Signal(sig os.Signal) error {
	n, ok := sig.(unix.Signal)
	if !ok {
		return fmt.Errorf("sandbox: signal %v", sig)
	}
	if err := s.process.Signal(n); err != nil {
		return fmt.Errorf("sandbox: signal %v to %s: %w", sig, s.name, err)
	}
	return nil
}

// Close kills the program if it still runs and closes what is open.
func (s *Sandbox) Close() error {
	s.close.Do(func() {
		s.process.CloseControl()
		select {
		case <-s.process.Done():
		default:
			s.process.Signal(unix.SIGKILL)
			<-s.process.Done()
		}
		s.signals.stop()
		s.Unplug()
		if s.Listener != nil {
			s.Listener.Close() // os.ErrClosed if the caller did
		}
		s.process.Close()
	})
	return nil
}

// Unplug closes the files of the network, once the program has ended and the
// roles that use them too. The kernel takes tens of milliseconds for that; Close
// does it as well.
func (s *Sandbox) Unplug() {
	s.unplug.Do(func() {
		// A tun device goes with its descriptor, which takes several grace periods of
		// RCU. One that persists goes with the namespace, for which nobody waits. For who
		// is still inside it goes at once, so that connections fail.
		if s.Tun != nil && s.ns != 0 && len(s.Processes()) == 0 {
			if rc, err := s.Tun.SyscallConn(); err == nil {
				rc.Control(func(fd uintptr) { unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) })
			}
		}
		for _, f := range []*os.File{s.Tun, s.Packet, s.Diag, s.Loopback} {
			if f != nil {
				f.Close()
			}
		}
	})
}

func exitCode(st unix.WaitStatus) int {
	if st.Signaled() {
		return 128 + int(st.Signal())
	}
	return st.ExitStatus()
}

func byteSlices(list []string) [][]byte {
	b := make([][]byte, len(list))
	for i, s := range list {
		b[i] = []byte(s)
	}
	return b
}
