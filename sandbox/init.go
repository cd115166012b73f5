//go:build linux

package sandbox

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"clipper/sandbox/internal/stage"

	"golang.org/x/sys/unix"
)

// initProcess is process 1 of a PID namespace: it starts the program, reaps
// everything and ends with the program's status; the kernel then kills what is
// left. It returns only the error of the program's execve.
func initProcess(c *stage.Config, in *stage.Inside) error {
	// Caught, not ignored: the program would inherit that. It is in the same
	// process group, so the terminal's signals reach it too; the others are
	// passed on.
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	pid, err := startProgram(c)
	if err != nil {
		return err
	}
	in.Close() // the spawner's sign that the program runs
	go func() {
		for sig := range signals {
			if sig != unix.SIGCHLD && sig != unix.SIGURG && !byTerminal(sig) {
				unix.Kill(pid, sig.(unix.Signal))
			}
		}
	}()
	for {
		var st unix.WaitStatus
		got, err := unix.Wait4(-1, &st, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			os.Exit(125)
		case got == pid && (st.Exited() || st.Signaled()):
			os.Exit(exitCode(st))
		}
	}
}

func startProgram(c *stage.Config) (int, error) {
	argv := texts(c.Argv)
	attr := &syscall.ProcAttr{Env: texts(c.Env), Files: []uintptr{0, 1, 2}}
	pid, err := syscall.ForkExec(string(c.Path), argv, attr)
	if err == unix.ENOEXEC {
		pid, err = syscall.ForkExec("/bin/sh", slices.Concat([]string{"sh", string(c.Path)}, argv[1:]), attr)
	}
	return pid, err
}
