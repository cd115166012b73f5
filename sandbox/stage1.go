//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	"clipper/sandbox/internal/rtnetlink"
	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// Stage1 is the body of the role that Spec.Role names: the first code in the
// namespaces. It never returns: it becomes the program. install puts the
// seccomp filter on the calling thread; it is called only with Spec.Hook.
func Stage1(install func() (listenerFD int, killable bool, err error)) {
	// The filter, the capabilities and the execve belong to one thread.
	runtime.LockOSThread()
	in, c, err := stage.Open()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
	// The change of credentials after clone(2) may have cleared it.
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	r, fds, f := prepare(c, install)
	if f != nil {
		r, fds = &stage.Report{Failure: f}, nil
	}
	if err := in.Send(r, fds...); err != nil || f != nil || c.Probe {
		os.Exit(125)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	if !in.Wait() {
		os.Exit(125)
	}
	if err := dropCapabilities(c.Bounding); err != nil {
		in.Send(&stage.Report{Failure: stage.Fail(stage.StepNamespace, err)})
		os.Exit(125)
	}
	if c.KillAll {
		in.Send(&stage.Report{Failure: stage.Fail(stage.StepExec, initProcess(c, in))})
	} else {
		in.Send(&stage.Report{Failure: stage.Fail(stage.StepExec, execute(c))})
	}
	os.Exit(125)
}

// prepare makes everything that needs capabilities.
func prepare(c *stage.Config, install func() (int, bool, error)) (*stage.Report, []int, *stage.Failure) {
	r := &stage.Report{}
	var fds []int
	add := func(name string, fd int) { r.Files, fds = append(r.Files, name), append(fds, fd) }

	conn, err := rtnetlink.Dial()
	if err != nil {
		return nil, nil, stage.Fail(stage.StepNetwork, err)
	}
	defer conn.Close()
	if c.Probe {
		if err := conn.LinkUp(1, 0, 0); err != nil {
			return nil, nil, stage.Fail(stage.StepNamespace, err)
		}
		if err := probePacket(); err != nil {
			return nil, nil, stage.Fail(stage.StepPacket, err)
		}
		return r, nil, nil
	}
	if c.KillAll {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return nil, nil, stage.Fail(stage.StepProc, fmt.Errorf("mount /proc for the PID namespace: %w", err))
		}
	}
	tun, index, err := openTun(c.TunPath)
	if err != nil {
		return nil, nil, stage.Fail(stage.StepTun, err)
	}
	add(stage.FileTun, tun)
	r.TunIndex = index
	for name, value := range c.Sysctls {
		sysctl(name, value)
	}
	if err := setUpNetwork(conn, index, c.MTU, c.IPv6); err != nil {
		return nil, nil, stage.Fail(stage.StepNetwork, err)
	}
	// Protocol 0 receives nothing until the holder has made the ring and binds.
	packet, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, stage.Fail(stage.StepPacket, fmt.Errorf("packet socket: %w", err))
	}
	add(stage.FilePacket, packet)
	diag, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, nil, stage.Fail(stage.StepNetwork, fmt.Errorf("sock_diag socket: %w", err))
	}
	add(stage.FileDiag, diag)
	hosts6 := false
	if !c.Own6 {
		if loopback, err := routeLocalnet6(conn, index); err == nil {
			hosts6 = true
			add(stage.FileLoopback, loopback)
		}
	}
	if err := coverHostFiles(hosts6); err != nil {
		return nil, nil, stage.Fail(stage.StepNetwork, err)
	}
	if c.Hook {
		if fd, killable, err := install(); err != nil {
			r.Unhooked = stage.Fail(stage.StepSeccomp, err)
		} else {
			add(stage.FileListener, fd)
			r.Killable = killable
		}
	}
	return r, fds, nil
}

// execute becomes the program; it returns only the error.
func execute(c *stage.Config) error {
	argv, env := texts(c.Argv), texts(c.Env)
	err := unix.Exec(string(c.Path), argv, env)
	if err == unix.ENOEXEC {
		// A script without "#!", which a shell runs by itself.
		return unix.Exec("/bin/sh", slices.Concat([]string{"sh", string(c.Path)}, argv[1:]), env)
	}
	return err
}

func texts(list [][]byte) []string {
	s := make([]string, len(list))
	for i, b := range list {
		s[i] = string(b)
	}
	return s
}

// probePacket tries what capture.Setup needs.
func probePacket() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("TPACKET_V3: %w", err)
	}
	return nil
}
