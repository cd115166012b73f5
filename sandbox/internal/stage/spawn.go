//go:build linux

package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultRole is the argv of stage 1.
var DefaultRole = []string{"clipper", "stage1"}

// Process is stage 1, and later the program it has become.
type Process struct {
	PID    int
	ctl    int
	pidfd  int
	done   chan struct{}
	status unix.WaitStatus
	err    error
}

// ErrNamespaces is wrapped by the error of Spawn when the kernel refused the
// namespaces.
var ErrNamespaces = errors.New("create namespaces")

// Spawn runs this executable again, with the argv role, in new user, network
// and mount namespaces (and a PID namespace with c.KillAll), and hands it c.
func Spawn(role []string, c *Config, stdio [3]*os.File) (*Process, error) {
	if len(role) == 0 {
		role = DefaultRole
	}
	config, err := memory(c)
	if err != nil {
		return nil, err
	}
	defer config.Close()
	sp, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("sandbox: control socket: %w", err)
	}
	defer unix.Close(sp[1])

	inherited := inheritedFiles()
	files := []uintptr{stdio[0].Fd(), stdio[1].Fd(), stdio[2].Fd()}
	place := func(fd uintptr) int {
		for inherited[len(files)] { // keeps its number: the program may know it
			files = append(files, uintptr(len(files)))
		}
		files = append(files, fd)
		return len(files) - 1
	}
	ctl := place(uintptr(sp[1]))
	cfg := place(config.Fd())
	attr := &syscall.ProcAttr{
		Env:   append(os.Environ(), controlEnv+"="+strconv.Itoa(ctl)+","+strconv.Itoa(cfg)),
		Files: files,
	}
	p := &Process{ctl: sp[0], pidfd: -1, done: make(chan struct{})}
	started := make(chan error)
	go p.run(role, attr, c.KillAll, started)
	if err := <-started; err != nil {
		unix.Close(sp[0])
		return nil, fmt.Errorf("%w: %w", ErrNamespaces, err)
	}
	runtime.KeepAlive(stdio)
	// The roles that are started from now on must not hold them open.
	for fd := range inherited {
		unix.CloseOnExec(fd)
	}
	return p, nil
}

// run forks, and waits on the same thread: the parent-death signal follows the
// thread that forked.
func (p *Process) run(role []string, attr *syscall.ProcAttr, pidns bool, started chan<- error) {
	runtime.LockOSThread()
	pid, err := 0, error(nil)
	for _, ids := range idMaps() {
		attr.Sys = &syscall.SysProcAttr{
			Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
			UidMappings:                ids.uid,
			GidMappings:                ids.gid,
			GidMappingsEnableSetgroups: ids.setgroups,
			AmbientCaps:                []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_SYS_ADMIN, unix.CAP_NET_BIND_SERVICE},
			Pdeathsig:                  unix.SIGKILL,
			PidFD:                      &p.pidfd,
		}
		if pidns {
			attr.Sys.Cloneflags |= unix.CLONE_NEWPID
		}
		if pid, err = syscall.ForkExec("/proc/self/exe", role, attr); err == nil {
			break
		}
	}
	if err != nil {
		started <- err
		return
	}
	p.PID = pid
	if p.pidfd < 0 {
		p.pidfd, _ = unix.PidfdOpen(pid, 0)
	}
	started <- nil
	// Sleep on the pidfd first: a plain wait could take ptrace stops away from
	// a tracer in this process.
	if p.pidfd >= 0 {
		fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); err != unix.EINTR {
				break
			}
		}
	}
	for {
		_, p.err = unix.Wait4(pid, &p.status, 0, nil)
		if p.err != unix.EINTR {
			break
		}
	}
	close(p.done)
}

// Receive waits for a report and its descriptors. io.EOF means that stage 1
// closed its end: it has become the program, or died.
func (p *Process) Receive() (*Report, map[string]*os.File, error) {
	buf, oob := make([]byte, maxReport), make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, err := 0, 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, oobn, _, _, err = unix.Recvmsg(p.ctl, buf, oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil && err != unix.ECONNRESET {
		return nil, nil, fmt.Errorf("sandbox: control socket: %w", err)
	}
	if err != nil || n == 0 {
		return nil, nil, io.EOF
	}
	var fds []int
	if scms, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil {
		for i := range scms {
			if f, err := unix.ParseUnixRights(&scms[i]); err == nil {
				fds = append(fds, f...)
			}
		}
	}
	var r Report
	if err := json.Unmarshal(buf[:n], &r); err != nil || len(r.Files) != len(fds) {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, nil, fmt.Errorf("sandbox: malformed report of stage 1 (%d descriptors): %q", len(fds), buf[:n])
	}
	files := map[string]*os.File{}
	for i, name := range r.Files {
		files[name] = os.NewFile(uintptr(fds[i]), name)
	}
	return &r, files, nil
}

// Go lets stage 1 execute the program.
func (p *Process) Go() error {
	_, err := unix.Write(p.ctl, []byte{1})
	return err
}

// CloseControl closes the control socket; stage 1, if it still waits, ends.
func (p *Process) CloseControl() {
	if p.ctl >= 0 {
		unix.Close(p.ctl)
		p.ctl = -1
	}
}

// Done is closed when the process has ended and been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is valid once Done is closed.
func (p *Process) Status() (unix.WaitStatus, error) { return p.status, p.err }

// Signal sends a signal, never to a process that took over the number.
func (p *Process) Signal(sig unix.Signal) error {
	if p.pidfd >= 0 {
		return unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	}
	select {
	case <-p.done:
		return unix.ESRCH
	default:
		return unix.Kill(p.PID, sig)
	}
}

// memory puts c into a file without a name.
func memory(c *Config) (*os.File, error) {
	fd, err := unix.MemfdCreate("clipper-stage1", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("sandbox: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "config")
	if err := json.NewEncoder(f).Encode(c); err != nil {
		f.Close()
		return nil, fmt.Errorf("sandbox: write the configuration: %w", err)
	}
	return f, nil
}

// inheritedFiles are the descriptors above stderr that this process was given
// and that the program is to have as well, as in `cmd <(other)`.
func inheritedFiles() map[int]bool {
	m := map[int]bool{}
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return m
	}
	for _, e := range dir {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && fl&unix.FD_CLOEXEC == 0 {
			m[fd] = true
		}
	}
	return m
}

// Close gives the descriptors back. The process must have ended.
func (p *Process) Close() {
	p.CloseControl()
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
}
