package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/bus/porttest"
	"clipper/integration/truth"

	"golang.org/x/sys/unix"
)

// wants checks status and message of a run that had to fail, and that nothing is left.
func (r result) wants(t *testing.T, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit status %d, want %d", r.code, code)
	}
	for _, s := range says {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("stderr lacks %q:\n%s", s, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "panic") || strings.Contains(r.stderr, "goroutine") {
		t.Errorf("stderr has a stack:\n%s", r.stderr)
	}
	nothingLeft(t, r)
}

func TestExitStatusIsTheCommands(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		for script, code := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
			r := run(t, w, "up", "-q", "--no-devtools", "--", "sh", "-c", script)
			r.wants(t, code)
			if r.stderr != "" {
				t.Errorf("%s: stderr %q", script, r.stderr)
			}
		}
	})
}

func TestCommandNotFound(t *testing.T) {
	run(t, plainUser(t), "up", "--", "no-such-command-here").wants(t, 127, "no-such-command-here: command not found")
}

func TestCommandNotExecutable(t *testing.T) {
	w := plainUser(t)
	f := filepath.Join(w.dir(t), "data")
	os.WriteFile(f, []byte("x"), 0o644)
	run(t, w, "up", "--", f).wants(t, 126, f+": Permission denied")
	run(t, w, "up", "--", "/").wants(t, 126)
}

func TestNoCommand(t *testing.T) {
	run(t, plainUser(t), "up").wants(t, 2, "clipper up -- COMMAND")
}

func TestTunMissing(t *testing.T) {
	w := plainUser(t)
	for path, says := range map[string]string{filepath.Join(workDir, "nothing"): "no such file", "/dev/null": "/dev/null"} {
		cmd := w.command(t, clipper(t), "up", "--", "true")
		cmd.Env = append(cmd.Env, "CLIPPER_TUN="+path)
		finish(t, cmd).wants(t, 125, path, says)
	}
	if os.Getuid() == 0 {
		closed := filepath.Join(workDir, "closed-tun")
		if err := unix.Mknod(closed, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(closed)
		cmd := w.command(t, clipper(t), "up", "--", "true")
		cmd.Env = append(cmd.Env, "CLIPPER_TUN="+closed)
		finish(t, cmd).wants(t, 125, closed, "permission denied", "chmod")
	}
}

// TestNoUserNamespaces runs where the limit of user namespaces is zero: inside
// one that was made for that.
func TestNoUserNamespaces(t *testing.T) {
	w := plainUser(t)
	cmd := w.command(t, "unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c",
		`echo 0 >/proc/sys/user/max_user_namespaces || exit 99; exec "$0" up -- true`, clipper(t))
	r := finish(t, cmd)
	if r.code == 99 {
		t.Skipf("cannot set the limit here: %s", r.stderr)
	}
	r.wants(t, 125, "user namespaces", "max_user_namespaces")
}

func TestPortsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	mark := filepath.Join(plainUser(t).dir(t), "ran")
	run(t, plainUser(t), "up", fmt.Sprintf("--devtools=127.0.0.1:%d", port), "--", "touch", mark).wants(t, 125, "address already in use", "--devtools")
	run(t, plainUser(t), "up", "-p", fmt.Sprintf("%d:80", port), "--", "touch", mark).wants(t, 125, "address already in use", fmt.Sprint(port))
	if _, err := os.Stat(mark); err == nil {
		t.Error("the command ran although a port was taken")
	}
}

func TestRejectedCertificate(t *testing.T) {
	s, _ := truthServer(t, truth.Options{})
	w := plainUser(t)
	har := filepath.Join(w.dir(t), "out.har")
	cmd := w.command(t, clipper(t), "up", "--no-devtools", "--har", har, "--", "curl", "-sS", "--cacert", "/etc/ssl/certs/ca-certificates.crt", s.URL)
	r := finish(t, cmd)
	r.wants(t, 60, "curl: (60)", "unknown_ca")
	h := readHAR(t, har)
	if len(h.Log.Verdicts) != 1 || !strings.Contains(h.Log.Verdicts[0].Reason, "unknown_ca") {
		t.Errorf("verdicts %+v, want one with the alert", h.Log.Verdicts)
	}
}

// popServer speaks a few words of another protocol than HTTP and returns its port.
func popServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "+OK I am ready\r\n") // a line of a hex dump, whether or not the next comes with it
			bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, "+OK bye\r\n")
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestOtherProtocol(t *testing.T) {
	w := plainUser(t)
	har := filepath.Join(w.dir(t), "out.har")
	r := run(t, w, "up", "--no-devtools", "--har", har, "--", "sh", "-c", "printf 'USER x\\r\\n' | nc -N 127.0.0.1 "+popServer(t))
	r.wants(t, 0)
	if !strings.Contains(r.stdout, "+OK bye") {
		t.Errorf("the app got %q", r.stdout)
	}
	h := readHAR(t, har)
	if len(h.Log.Entries) != 0 || len(h.Log.Verdicts) != 1 || h.Log.Verdicts[0].Code != "not-http" {
		t.Errorf("entries %d, verdicts %+v; want one verdict not-http", len(h.Log.Entries), h.Log.Verdicts)
	}
}

// TestNoSecrets has TLS in the sandbox whose secrets are out of reach: a client on
// the host talks to the server through a relay inside, which has no TLS library.
func TestNoSecrets(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	relay := porttest.TCP(t, "127.0.0.1").Port()
	w := plainUser(t)
	har := filepath.Join(w.dir(t), "out.har")
	relayer := build(t, "clipper/integration/cmd/relay")
	cmd := w.command(t, clipper(t), "up", "--no-devtools", "--har", har, "-p", fmt.Sprintf("127.0.0.1:%d:8443", relay), "--",
		relayer, ":8443", fmt.Sprintf("127.0.0.1:%d", s.Port))
	out, _ := cmd.StdoutPipe()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(out).ReadString('\n')
	curl := exec.Command("curl", "-sS", "--retry-connrefused", "--retry", "20", "--retry-delay", "1", "--cacert", ca, "--resolve", fmt.Sprintf("localhost:%d:127.0.0.1", relay), fmt.Sprintf("https://localhost:%d/json/x", relay))
	if b, err := curl.CombinedOutput(); err != nil {
		t.Errorf("curl through the relay: %v %s", err, b)
	}
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v %s", err, errs.String())
	}
	h := readHAR(t, har)
	if len(h.Log.Entries) != 0 || len(h.Log.Verdicts) == 0 {
		t.Fatalf("%d entries, verdicts %+v", len(h.Log.Entries), h.Log.Verdicts)
	}
	for _, v := range h.Log.Verdicts {
		if v.Code != "no-secret" || v.Help == "" {
			t.Errorf("verdict %+v, want no-secret with help", v)
		}
	}
	if !strings.Contains(errs.String(), "no-secret") && !strings.Contains(errs.String(), "no secret") {
		t.Errorf("the terminal is silent about it:\n%s", errs.String())
	}
}

// TestFullDisk gives the session a directory on a file system of 24 MiB and
// transfers more than fits.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := filepath.Join(root.dir(t), "small")
	os.Mkdir(dir, 0o700)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s, ca := truthServer(t, truth.Options{})
	cmd := root.command(t, clipper(t), "up", "--no-devtools", "--", "curl", "-sS", "--cacert", ca, "-o", "/dev/null", "-w", "%{size_download}", s.URL+"/size/60000000")
	cmd.Env = append(cmd.Env, "CLIPPER_DIR="+dir)
	r := finish(t, cmd)
	if r.stdout != "60000000" {
		t.Errorf("the app got %s of 60000000 bytes", r.stdout)
	}
	r.wants(t, 125, "no space left")
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTwoSessionsAtOnce(t *testing.T) {
	w := plainUser(t)
	servers := [2]*truth.Server{}
	cmds := [2]*exec.Cmd{}
	outs := [2]bytes.Buffer{}
	dir := w.dir(t)
	for i := range cmds {
		s, ca := truthServer(t, truth.Options{})
		servers[i] = s
		cmds[i] = w.command(t, clipper(t), "up", "--har", filepath.Join(dir, fmt.Sprint(i)), "--", "sh", "-c",
			fmt.Sprintf("for i in 1 2 3 4 5; do curl -sS -o /dev/null --cacert %s %s/json/$i; done; sleep 1", ca, s.URL))
		cmds[i].Env = append(cmds[i].Env, "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
		cmds[i].Stdout, cmds[i].Stderr = &outs[i], &outs[i]
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v %s", err, outs[i].String())
		}
		sameAsServer(t, readHAR(t, filepath.Join(dir, fmt.Sprint(i))), servers[i].Log())
	}
	if e, _ := os.ReadDir(filepath.Join(dir, "sessions")); len(e) != 0 {
		t.Errorf("left behind: %v", e)
	}
}

// TestSpawnerKilled: the app and the roles die with it, and its files go.
func TestSpawnerKilled(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		cmd := w.command(t, clipper(t), "up", "--", "sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		rolePID(t, cmd, "cdpgw")
		rows := ps(t, cmd)
		if len(rows) != 1 {
			t.Fatalf("%d sessions", len(rows))
		}
		children := childrenOf(t, cmd.Process.Pid)
		if len(children) < 7 {
			t.Errorf("only %d children: %v", len(children), children)
		}
		cmd.Process.Kill()
		cmd.Wait()
		for _, pid := range children {
			eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return gone(pid) })
		}
		eventually(t, "the session's directory is gone", func() bool {
			left, _ := os.ReadDir(filepath.Join(cmd.Dir, "sessions"))
			return len(left) == 0
		})
	})
}

// TestKilledInTheMiddleOfAWrite: the files of a session that was killed while it wrote
// large entries are made whole, without another run.
func TestKilledInTheMiddleOfAWrite(t *testing.T) {
	s, _ := truthServer(t, truth.Options{})
	w := plainUser(t)
	for range 3 {
		cmd := w.command(t, clipper(t), "up", "-q", "--no-devtools", "--har", "out.har", "--json", "out.json", "--", "sh", "-c",
			fmt.Sprintf("while :; do curl -sSk -o /dev/null %s/size/3000000 || exit; done", s.URL))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a few large entries are written", func() bool {
			fi, err := os.Stat(filepath.Join(cmd.Dir, "out.har"))
			return err == nil && fi.Size() > 20_000_000
		})
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "the session's directory is gone", func() bool {
			left, err := os.ReadDir(filepath.Join(cmd.Dir, "sessions"))
			return err == nil && len(left) == 0
		})
		if h := readHAR(t, filepath.Join(cmd.Dir, "out.har")); len(h.Log.Entries) < 3 {
			t.Errorf("the HAR has %d entries", len(h.Log.Entries))
		}
		b, err := os.ReadFile(filepath.Join(cmd.Dir, "out.json"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			if !json.Valid(line) {
				t.Errorf("a line of %d bytes is cut", len(line))
			}
		}
	}
}

func childrenOf(t testing.TB, pid int) []int {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			var p int
			fmt.Sscan(s, &p)
			all = append(all, p)
		}
	}
	return all
}

// gone reports whether a process has ended; a zombie that waits for init has.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

// TestEndedAtTheStart: a signal before the command runs ends the session as one after
// that does, with nothing left behind and nothing to say.
func TestEndedAtTheStart(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
			cmd := w.command(t, clipper(t), "up", "-q", "--no-devtools", "--", "sleep", "1000")
			cmd.SysProcAttr.Setpgid = true
			sessions := filepath.Join(cmd.Dir, "sessions")
			r := finishAfter(t, cmd, func() error {
				if err := cmd.Start(); err != nil {
					return err
				}
				for { // from the first moment in which something could be left
					if left, _ := os.ReadDir(sessions); len(left) > 0 {
						return syscall.Kill(-cmd.Process.Pid, sig)
					}
				}
			})
			if r.code != 128+int(sig) || r.stderr != "" {
				t.Errorf("%v: exit %d %s", sig, r.code, r.stderr)
			}
			if left, _ := os.ReadDir(sessions); len(left) > 0 {
				t.Errorf("%v left %v", sig, left)
			}
		}
	})
}

// TestInterrupt sends what Ctrl-C on a terminal sends: SIGINT to the foreground group.
func TestInterrupt(t *testing.T) {
	w := plainUser(t)
	cmd := w.command(t, clipper(t), "up", "--no-devtools", "--", "sh", "-c", "echo up; exec sleep 1000")
	cmd.SysProcAttr.Setpgid = true
	out, _ := cmd.StdoutPipe()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	bufio.NewReader(out).ReadString('\n')
	syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
	hang := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer hang.Stop()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit status %d, want 130\n%s", code, errs.String())
	}
	nothingLeft(t, result{dir: cmd.Dir})
}
