//go:build linux

package sandbox_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/sandbox/netd"

	"golang.org/x/sys/unix"
)

func publish(t *testing.T, s string) []netd.Publish {
	t.Helper()
	p, err := netd.ParsePublish(s)
	if err != nil {
		t.Fatal(err)
	}
	return []netd.Publish{p}
}

func TestExitStatus(t *testing.T) {
	eachUser(t, func(t *testing.T, w *who) {
		file := func(name, text string, mode os.FileMode) string {
			path := filepath.Join(w.home, name)
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			os.Chmod(path, mode)
			return path
		}
		plain := file("plain", "text", 0o644)
		nothing := filepath.Join(w.home, "nothing")
		script := file("script", "exit 5\n", 0o755)
		bad := file("bad", "#!/nonexistent/interpreter\n", 0o755)
		for _, c := range []struct {
			argv   []string
			code   int
			stderr string
		}{
			{[]string{"true"}, 0, ""},
			{[]string{"sh", "-c", "exit 42"}, 42, ""},
			{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
			{[]string{"sh", "-c", "kill -SEGV $$"}, 128 + 11, ""},
			{[]string{"no-such-command"}, 127, "clipper: no-such-command: command not found\n"},
			{[]string{nothing}, 127, "clipper: " + nothing + ": No such file or directory\n"},
			{[]string{plain}, 126, "clipper: " + plain + ": Permission denied\n"},
			{[]string{w.home}, 126, "clipper: " + w.home + ": Is a directory\n"},
			{[]string{plain + "/x"}, 127, "clipper: " + plain + "/x: Not a directory\n"},
			{[]string{script}, 5, ""},
			{[]string{bad}, 126, "clipper: " + bad + ": bad interpreter: No such file or directory\n"},
		} {
			r := finish(t, w.command(t, settings{}, c.argv...))
			if r.code != c.code || r.stderr != c.stderr {
				t.Errorf("%q: exit status %d, %q; want %d, %q", c.argv, r.code, r.stderr, c.code, c.stderr)
			}
		}
	})
}

// A program sees inside who and where it is outside.
func TestIdentity(t *testing.T) {
	const script = `umask 027; ulimit -n; ulimit -c; ulimit -s; id -u; id -g; id -ru; pwd; umask; cat /proc/self/cgroup; echo "$HOME $MARK"; cat <&7; grep -E 'SigIgn|SigBlk|CapEff' /proc/self/status; [ $(id -u) != 0 ] || grep CapBnd /proc/self/status; nice; tty; exit 3`
	eachUser(t, func(t *testing.T, w *who) {
		inside, outside := w.command(t, settings{}, "sh", "-c", script), w.outside("sh", "-c", script)
		path := filepath.Join(w.home, "seven")
		if err := os.WriteFile(path, []byte("descriptor seven\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, cmd := range []*[]*os.File{&inside.ExtraFiles, &outside.ExtraFiles} {
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			defer f.Close()
			*cmd = []*os.File{null, null, null, null, f}
		}
		inside.Env, outside.Env = append(inside.Env, "MARK=a=\xff b"), append(outside.Env, "MARK=a=\xff b")
		in, out := finish(t, inside), finish(t, outside)
		if in != out {
			t.Errorf("inside:\n%+v\noutside:\n%+v", in, out)
		}
	})
}

func TestNoCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a user")
	}
	w := freshUser(t)
	got := ok(t, w.command(t, settings{}, "sh", "-c", "grep -E 'CapEff|CapPrm|CapInh|CapAmb' /proc/self/status; ip link set lo down 2>&1 || true"))
	if n := strings.Count(got, "0000000000000000"); n != 4 || !strings.Contains(got, "Operation not permitted") {
		t.Errorf("got %s", got)
	}
}

func TestSignals(t *testing.T) {
	w := caller(t)
	for _, c := range []struct {
		sig  syscall.Signal
		want int
	}{{unix.SIGTERM, 7}, {unix.SIGHUP, 8}, {unix.SIGINT, 9}} {
		// A session of its own: no terminal sends the program what is sent here.
		cmd := w.command(t, settings{}, "sh", "-c", "trap 'exit 7' TERM; trap 'exit 8' HUP; trap 'exit 9' INT; echo ready; while :; do sleep 0.05; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		bufio.NewReader(out).ReadString('\n')
		cmd.Process.Signal(c.sig)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.want {
			t.Errorf("%v: exit status %d, want %d", c.sig, got, c.want)
		}
	}
}

// Nothing is left when the spawner is killed.
func TestSpawnerKilled(t *testing.T) {
	eachUser(t, func(t *testing.T, w *who) {
		mark := fmt.Sprintf("clipper-mark-%d", time.Now().UnixNano())
		cmd := w.command(t, settings{}, "sh", "-c", "echo $$; exec sleep 1000")
		cmd.Env = append(cmd.Env, "MARK="+mark)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		bufio.NewReader(out).ReadString('\n')
		awaitMarked(t, mark, 3) // spawner, netd, program, which has no environment while it becomes sleep
		cmd.Process.Kill()
		cmd.Wait()
		awaitMarked(t, mark, 0)
	})
}

// awaitMarked returns when there are n processes with the mark.
func awaitMarked(t *testing.T, mark string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list := marked(mark)
		if len(list) == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v, want %d", list, n)
		}
	}
}

// marked lists the processes with MARK=mark in their environment.
func marked(mark string) []string {
	var list []string
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "MARK="+mark+"\x00") {
			list = append(list, f)
		}
	}
	return list
}

func TestKillAll(t *testing.T) {
	eachUser(t, func(t *testing.T, w *who) {
		mark := fmt.Sprintf("clipper-mark-%d", time.Now().UnixNano())
		var s settings
		s.Spec.KillAll = true
		cmd := w.command(t, s, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $$ $(ps -e | grep -c .); exit 9")
		cmd.Env = append(cmd.Env, "MARK="+mark)
		r := finish(t, cmd)
		if r.code != 9 || r.stderr != "" {
			t.Errorf("%+v", r)
		}
		if left := marked(mark); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestTunMissing(t *testing.T) {
	w := caller(t)
	var s settings
	s.Spec.TunPath = "/nonexistent/tun"
	r := finish(t, w.command(t, s, "echo", "started"))
	if r.code != 125 || r.stdout != "" || !strings.Contains(r.stderr, "open /nonexistent/tun: no such file or directory") || !strings.Contains(r.stderr, "to fix: ") {
		t.Errorf("%+v", r)
	}
	if os.Geteuid() != 0 {
		return
	}
	u := freshUser(t)
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	os.Chmod(filepath.Dir(dir), 0o755)
	closed := filepath.Join(dir, "tun")
	if err := unix.Mknod(closed, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
		t.Fatal(err)
	}
	s.Spec.TunPath = closed
	r = finish(t, u.command(t, s, "echo", "started"))
	if r.code != 125 || r.stdout != "" || !strings.Contains(r.stderr, "permission denied") || !strings.Contains(r.stderr, "to fix: sudo chmod 0666 "+closed) {
		t.Errorf("%+v", r)
	}
}

// Without user namespaces the message names the setting.
func TestNoUserNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take user namespaces away")
	}
	u := freshUser(t)
	// A user namespace around the spawner, in which no further ones are allowed.
	cmd := u.command(t, settings{}, "echo", "started")
	argv := strings.Join(quote(cmd.Args), " ")
	outer := u.outside("unshare", "-Ur", "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && exec "+argv)
	r := finish(t, outer)
	if r.code != 125 || r.stdout != "" || !strings.Contains(r.stderr, "user.max_user_namespaces is 0") || !strings.Contains(r.stderr, "to fix: sudo sysctl -w user.max_user_namespaces=") {
		t.Errorf("%+v", r)
	}
}

func quote(args []string) []string {
	var q []string
	for _, a := range args {
		q = append(q, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	return q
}
