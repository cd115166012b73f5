package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain builds the binary once, where every user can run it.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clipper-it-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	// A shell without job control ignores them for what it runs in the background,
	// as this may be, and all that is started here would.
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGQUIT} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	code := m.Run()
	if account.name != "" {
		exec.Command("userdel", account.name).Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

var workDir string

// build compiles a main package into a static binary, once, and returns its path.
func build(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	name := strings.NewReplacer("/", "-", ".", "", " ", "", "=", "-").Replace(pkg + strings.Join(flags, ""))
	built, _ := builds.LoadOrStore(name, &sync.Once{})
	out := filepath.Join(workDir, name, filepath.Base(pkg)) // the name that DevTools shows
	built.(*sync.Once).Do(func() {
		cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), pkg)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, b)
		}
	})
	return out
}

var builds sync.Map

func clipper(t testing.TB) string { return build(t, "clipper", "-ldflags=-s -w") }

// who runs a command: root, or a fresh user without any entry but its own.
type who struct {
	name     string
	uid, gid int
}

var (
	root        = who{name: ""}
	account     who
	accountOnce sync.Once
)

// plainUser makes the unprivileged user of this run, and what this machine keeps
// from it: a /dev/net/tun that everybody can open, as udev makes it elsewhere.
func plainUser(t testing.TB) who {
	t.Helper()
	if os.Getuid() != 0 {
		return who{uid: os.Getuid(), gid: os.Getgid()}
	}
	accountOnce.Do(func() {
		name := "clipper" + strconv.Itoa(os.Getpid())
		if b, err := exec.Command("useradd", "-M", "-d", filepath.Join(workDir, "home"), name).CombinedOutput(); err != nil {
			t.Fatalf("useradd: %v %s", err, b)
		}
		u, err := user.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		account = who{name: name}
		account.uid, _ = strconv.Atoi(u.Uid)
		account.gid, _ = strconv.Atoi(u.Gid)
		os.Mkdir(filepath.Join(workDir, "home"), 0o700)
		os.Chown(filepath.Join(workDir, "home"), account.uid, account.gid)
		if err := unix.Mknod(filepath.Join(workDir, "tun"), unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(workDir, "tun"), 0o666)
	})
	return account
}

// everybody runs the test as root, where the test is, and as a plain user.
func everybody(t *testing.T, f func(t *testing.T, w who)) {
	if os.Getuid() == 0 {
		t.Run("root", func(t *testing.T) { f(t, root) })
	}
	t.Run("user", func(t *testing.T) { f(t, plainUser(t)) })
}

// dir makes a directory of w's own.
func (w who) dir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp(workDir, "d")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(d, 0o700)
	if w.name != "" {
		os.Chown(d, w.uid, w.gid)
	}
	return d
}

// command prepares argv as w, in a directory of its own.
func (w who) command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	dir := w.dir(t)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CLIPPER_DIR="+filepath.Join(dir, "sessions"), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if w.name != "" {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(w.uid), Gid: uint32(w.gid)}
		cmd.Env = append(cmd.Env, "CLIPPER_TUN="+filepath.Join(workDir, "tun"), "USER="+w.name)
	}
	return cmd
}

// result is what a finished command left.
type result struct {
	stdout, stderr string
	code           int
	dir            string
}

// run runs clipper as w to its end; five minutes are a hang.
func run(t testing.TB, w who, args ...string) result {
	t.Helper()
	return finish(t, w.command(t, append([]string{clipper(t)}, args...)...))
}

func finish(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	return finishAfter(t, cmd, cmd.Start)
}

// finishAfter is finish for a command that start starts.
func finishAfter(t testing.TB, cmd *exec.Cmd, start func() error) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(5*time.Minute, func() { cmd.Process.Signal(syscall.SIGQUIT); cmd.Process.Kill() })
	err := cmd.Wait()
	if !hang.Stop() {
		t.Fatalf("%v did not end\nstdout: %s\nstderr: %s", cmd.Args, out.String(), errs.String())
	}
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return result{stdout: out.String(), stderr: errs.String(), code: cmd.ProcessState.ExitCode(), dir: cmd.Dir}
}

// nothingLeft fails the test when the session of a finished run left files behind.
func nothingLeft(t testing.TB, r result) {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Join(r.dir, "sessions"))
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unmarshal(t testing.TB, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v in %.300s", err, b)
	}
}

const interrupt = syscall.SIGINT

// syncBuffer is what a running command has printed so far.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
