//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"clipper/bus"
	"clipper/bus/natsbus"
	"clipper/sandbox"
	"clipper/sandbox/capture"
	"clipper/sandbox/netd"

	"golang.org/x/sys/unix"
)

// The test binary is its own stage 1, netd, spawner and client.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "stage1":
			sandbox.Stage1(nil)
		case "netd":
			if path := os.Getenv(ownersEnv); path != "" {
				os.Exit(netdWithOwners(path))
			}
			os.Exit(netd.Main())
		case "capture":
			os.Exit(captureNothing())
		case "up":
			os.Exit(up(os.Args[2], os.Args[3:]))
		case "client":
			os.Exit(client(os.Args[2:]))
		}
	}
	// A shell without job control ignores them for what it runs in the background,
	// as this may be, and all that is started here would.
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(m.Run())
}

// ownersEnv names the file that gets the owners of flows.
const ownersEnv = "CLIPPER_TEST_OWNERS"

// settings of up.
type settings struct {
	Net  netd.Options
	Spec sandbox.Spec
	// Capture has everything recorded, and thrown away: what a capture costs
	// without what comes after it.
	Capture bool
}

// up is `clipper up` without key hook and, unless it is asked for, capture.
func up(config string, argv []string) int {
	var s settings
	if err := json.Unmarshal([]byte(config), &s); err != nil {
		panic(err)
	}
	code, err := runSandboxed(&s, argv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clipper:", err)
		if e, ok := errors.AsType[*sandbox.CommandError](err); ok {
			return e.ExitCode()
		}
		return 125
	}
	return code
}

func runSandboxed(s *settings, argv []string) (int, error) {
	s.Spec.Argv = argv
	sb, err := sandbox.Start(s.Spec)
	if err != nil {
		return 0, err
	}
	defer sb.Close()
	ready, child, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer ready.Close()
	files := []*os.File{sb.Tun, sb.Diag, child}
	s.Net.TunFD, s.Net.DiagFD, s.Net.ReadyFD = 3, 4, 5
	if sb.Loopback != nil {
		files = append(files, sb.Loopback)
		s.Net.LoopbackFD = 2 + len(files)
	}
	if s.Capture {
		page, err := capture.NewPage()
		if err != nil {
			return 0, err
		}
		if err := capture.Setup(int(sb.Packet.Fd())); err != nil {
			return 0, err
		}
		files = append(files, sb.Packet, page)
		s.Net.PacketFD, s.Net.PageFD = 1+len(files), 2+len(files)
		reader := exec.Command("/proc/self/exe", "capture")
		reader.Stderr = os.Stderr
		reader.ExtraFiles = []*os.File{sb.Packet, page}
		if err := reader.Start(); err != nil {
			return 0, err
		}
		defer func() {
			reader.Process.Signal(unix.SIGTERM)
			reader.Wait()
		}()
	}
	s.Net.MTU, s.Net.IPv6 = sb.MTU, sb.IPv6
	options, err := json.Marshal(s.Net)
	if err != nil {
		return 0, err
	}
	nat := exec.Command("/proc/self/exe", "netd")
	nat.Stderr = os.Stderr
	nat.Env = append(os.Environ(), natsbus.OptionsEnv+"="+string(options))
	nat.ExtraFiles = files
	if err := nat.Start(); err != nil {
		return 0, err
	}
	defer func() {
		nat.Process.Signal(unix.SIGTERM)
		nat.Wait()
	}()
	child.Close()
	if err := netd.AwaitReady(ready); err != nil {
		return 0, err
	}
	if err := sb.Release(); err != nil {
		return 0, err
	}
	return sb.Wait()
}

// nothing is a partition that keeps nothing.
type nothing struct{}

func (nothing) Publish(*bus.Record) error { return nil }
func (nothing) Flush() error              { return nil }

func captureNothing() int {
	ring, err := capture.Map(3, 4)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		err = capture.NewReader(ring, []capture.Output{{Publisher: nothing{}}}).Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		return 1
	}
	return 0
}

// who runs a command: root as it is, or a fresh user without any privilege.
type who struct {
	name string
	cred *syscall.Credential
	bin  string   // this test binary, where the user can execute it
	env  []string // added
	home string
}

// eachUser runs a test as every kind of user.
func eachUser(t *testing.T, f func(t *testing.T, w *who)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Run("caller", func(t *testing.T) { f(t, caller(t)) })
		return
	}
	t.Run("root", func(t *testing.T) { f(t, caller(t)) })
	t.Run("user", func(t *testing.T) { f(t, freshUser(t)) })
}

func caller(t *testing.T) *who {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &who{name: "caller", bin: exe, home: t.TempDir()}
}

// freshUser makes a user that has nothing, and a tun device that it may open as
// udev makes it elsewhere. Both go away at the end.
func freshUser(t *testing.T) *who {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "clipper-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := "clippert" + strconv.Itoa(os.Getpid()) + strconv.Itoa(int(time.Now().UnixNano()%10000))
	if out, err := exec.Command("useradd", "--system", "--no-create-home", "--home-dir", dir, name).CombinedOutput(); err != nil {
		t.Skipf("cannot make a user: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v: %s", err, out)
		}
	})
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	tun := filepath.Join(dir, "tun")
	if err := unix.Mknod(tun, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tun, 0o666); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(home, 0o755), os.Chown(home, uid, gid)); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "test")
	exe, _ := os.Executable()
	if err := copyFile(bin, exe); err != nil {
		t.Fatal(err)
	}
	return &who{name: name, cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, bin: bin,
		env: []string{sandbox.TunEnv + "=" + tun, "HOME=" + home, "USER=" + name}, home: home}
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// command is argv in a sandbox.
func (w *who) command(t *testing.T, s settings, argv ...string) *exec.Cmd {
	t.Helper()
	config, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, w.bin, append([]string{"up", string(config)}, argv...)...)
	w.dress(cmd)
	return cmd
}

// outside is argv as w, without a sandbox.
func (w *who) outside(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	w.dress(cmd)
	return cmd
}

func (w *who) dress(cmd *exec.Cmd) {
	cmd.Env = append(os.Environ(), w.env...)
	cmd.Dir = w.home
	if w.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.cred}
	}
}

// result of a command.
type result struct {
	stdout, stderr string
	code           int
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	code := st.ExitStatus()
	if st.Signaled() {
		code = -int(st.Signal())
	}
	return result{out.String(), errs.String(), code}
}

// ok is the output of a command that must succeed.
func ok(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	r := finish(t, cmd)
	if r.code != 0 {
		t.Fatalf("%v: exit status %d\nstdout: %s\nstderr: %s", cmd.Args[2:], r.code, r.stdout, r.stderr)
	}
	return r.stdout
}
