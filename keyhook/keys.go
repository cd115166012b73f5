package keyhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// KeysOptions say where RunKeys writes.
type KeysOptions struct {
	KeyLog io.Writer // SSLKEYLOGFILE lines (RFC 9850), one Write each; nil: none
	JSON   io.Writer // one JSON object a line: the secret and where it comes from, and process events; nil: none

	Stdin, Stdout, Stderr *os.File // of the program; nil: this process's
	Env                   []string // of the program; nil: os.Environ

	old bool // as on Linux before 5.19, for tests
}

// RunKeys runs a program and writes the TLS secrets of it and its descendants,
// with no network sandbox and no bus. It needs no privilege: the kernel lets a
// process trace its own children. An SSLKEYLOGFILE in the environment goes on
// being filled, and gets the secrets of the programs that do not honour it too.
//
// It returns when the program and all of its descendants are gone, or ctx
// ends. The exit code is the program's own, 128+N after signal N, and with an
// error 125, or as of a shell 126 and 127 for a program that cannot be run or
// found. This executable has to run Main when its first argument is "keyhook".
func RunKeys(ctx context.Context, argv []string, o KeysOptions) (exitCode int, err error) {
	if len(argv) == 0 {
		return 125, errors.New("keyhook: no program to run")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EISDIR) {
			return 126, fmt.Errorf("keyhook: %w", err)
		}
		return 127, fmt.Errorf("keyhook: %w", err)
	}
	dir, err := os.MkdirTemp("", "clipper-keys-")
	if err != nil {
		return 125, fmt.Errorf("keyhook: %w", err)
	}
	defer os.RemoveAll(dir)
	shared, err := NewShared()
	if err != nil {
		return 125, err
	}
	defer shared.Close()
	if o.Env == nil {
		o.Env = os.Environ()
	}
	add, files, err := Environment(dir, o.Env)
	if err != nil {
		return 125, err
	}
	out := &keyWriter{keyLog: o.KeyLog, json: o.JSON}
	if lookup(o.Env, "SSLKEYLOGFILE") != "" { // the user's own file
		out.theirs = files[0].Path
	}

	// The thread that starts the program stays its parent and never dances:
	// a dance waits for any child of its own thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	app, listener, killable, ready, err := startApp(path, argv, append(o.Env, add...), o)
	if err != nil {
		return 125, err
	}
	defer unix.Close(listener)
	passSignals := forwardSignals(app)
	defer passSignals()

	serveCtx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- Serve(serveCtx, Options{ListenerFD: listener, Killable: killable, RingFD: int(shared.Ring.Fd()), StateFD: int(shared.State.Fd()),
			ReadyFD: ready, KeyLogFiles: files, AppPID: app.Process.Pid, untilGone: true}, out)
	}()
	code := waitApp(app)
	return code, <-served
}

// startApp starts the program under the filter and returns when it is about
// to become the program, with the descriptor on which it waits for one byte.
func startApp(path string, argv, env []string, o KeysOptions) (app *exec.Cmd, listener int, killable bool, ready int, err error) {
	fail := func(err error) (*exec.Cmd, int, bool, int, error) { return nil, -1, false, -1, err }
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(fmt.Errorf("keyhook: %w", err))
	}
	theirs := os.NewFile(uintptr(pair[1]), "launch")
	defer theirs.Close()
	l, err := json.Marshal(Options{Launch: &launch{SocketFD: 3, Path: path, Argv: argv, Old: o.old}})
	if err != nil {
		return fail(err)
	}
	app = exec.Command("/proc/self/exe", "keyhook")
	app.Args[0] = os.Args[0]
	app.Env = append(env, natsbus.OptionsEnv+"="+string(l))
	app.ExtraFiles = []*os.File{theirs}
	app.Stdin, app.Stdout, app.Stderr = os.Stdin, os.Stdout, os.Stderr
	if o.Stdin != nil {
		app.Stdin = o.Stdin
	}
	if o.Stdout != nil {
		app.Stdout = o.Stdout
	}
	if o.Stderr != nil {
		app.Stderr = o.Stderr
	}
	if err := app.Start(); err != nil {
		unix.Close(pair[0])
		return fail(fmt.Errorf("keyhook: start %s: %w", path, err))
	}
	theirs.Close()
	listener, killable, err = receiveListener(pair[0])
	if err != nil {
		unix.Close(pair[0])
		app.Wait()
		return fail(fmt.Errorf("keyhook: start %s: %w", path, err))
	}
	return app, listener, killable, pair[0], nil
}

// waitApp waits for the program and returns its exit code.
func waitApp(app *exec.Cmd) int {
	// A plain wait would steal the ptrace stops of our own child from the
	// dancing thread: sleep on a pidfd until the child is really dead.
	if fd, err := unix.PidfdOpen(app.Process.Pid, 0); err == nil {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(p, -1); err != unix.EINTR {
				break
			}
		}
		unix.Close(fd)
	}
	app.Wait()
	ws, ok := app.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return app.ProcessState.ExitCode()
}

// forwardSignals passes on what was sent to us alone, and outlives what the
// terminal sends to both.
func forwardSignals(app *exec.Cmd) (stop func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		for s := range c {
			if s == unix.SIGTERM || s == unix.SIGHUP {
				app.Process.Signal(s)
			}
		}
	}()
	return func() { signal.Stop(c); close(c) }
}

// ownLinePatience is how long a program gets to write its secret to the
// user's SSLKEYLOGFILE itself before we do.
const ownLinePatience = 300 * time.Millisecond
