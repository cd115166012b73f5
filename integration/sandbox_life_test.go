package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/bus/porttest"

	"golang.org/x/sys/unix"
)

// marked lists the processes that have MARK=mark in their environment.
func marked(mark string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "MARK="+mark+"\x00") {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			if !gone(pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// mark gives everything that cmd starts a name of its own.
func mark(cmd *exec.Cmd) string {
	m := fmt.Sprintf("%s-%d", filepath.Base(cmd.Dir), time.Now().UnixNano())
	cmd.Env = append(cmd.Env, "MARK="+m)
	return m
}

// hostHTTP is a server on the host's loopback that says hello.
func hostHTTP(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return fmt.Sprintf("http://localhost:%d/", l.Addr().(*net.TCPAddr).Port)
}

// leaves checks the end of a command that left one process running.
func (r result) leaves(t *testing.T, code int) {
	t.Helper()
	if r.code != code || !regexp.MustCompile(`left 1 process running, .*: \w+\[\d+\] \(`).MatchString(r.stderr) {
		t.Errorf("exit %d, want %d\n%s", r.code, code, r.stderr)
	}
}

// TestDaemonKeepsNetwork: what the command leaves running goes on as if nothing
// had ended: it starts programs, and they have a network, published ports too.
func TestDaemonKeepsNetwork(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		published := porttest.TCP(t, "127.0.0.1").String()
		cmd := w.command(t, clipper(t), "up", "--no-devtools", "-p", published+":8080", "--", "sh", "-c",
			`setsid sh -c 'read -r x <go; curl -sS '"$0"' >result; exec nc -l -p 8080 >heard' >/dev/null 2>errors & exit 3`, hostHTTP(t))
		m := mark(cmd)
		fifo := filepath.Join(cmd.Dir, "go")
		if err := unix.Mkfifo(fifo, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(fifo, 0o666)
		cmd.SysProcAttr.Pdeathsig = 0
		r := finish(t, cmd)
		r.leaves(t, 3)
		eventually(t, "the daemon and its network are there", func() bool { return len(marked(m)) == 2 })
		if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		result := filepath.Join(cmd.Dir, "result")
		eventually(t, "the daemon's request", func() bool { b, _ := os.ReadFile(result); return string(b) == "hello" })
		eventually(t, "the daemon hears at the published port", func() bool {
			if b, _ := os.ReadFile(filepath.Join(cmd.Dir, "heard")); strings.HasPrefix(string(b), "word") {
				return true
			}
			if c, err := net.Dial("tcp", published); err == nil {
				io.WriteString(c, "word")
				c.Close()
			}
			return false
		})
		eventually(t, "nothing is left when the daemon has ended", func() bool { return len(marked(m)) == 0 })
		nothingLeft(t, r)
		if b, _ := os.ReadFile(filepath.Join(cmd.Dir, "errors")); len(b) != 0 {
			t.Errorf("the daemon says %s", b)
		}
	})
}

// TestDaemonKeepsFiles: programs that what was left running starts later find the
// files that their environment names, though the session is over, and nothing else
// of it is left; after the last one there is nothing at all.
func TestDaemonKeepsFiles(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		programs := `/usr/bin/python3 -c 'import ssl; ssl.create_default_context()' && touch python`
		if _, err := exec.LookPath("java"); err == nil {
			programs += `; java -version && touch java`
		}
		cmd := w.command(t, clipper(t), "up", "--no-devtools", "--", "sh", "-c",
			`setsid sh -c 'read -r x <go; `+strings.ReplaceAll(programs, "'", `'\''`)+`; touch end; read -r x <go' >/dev/null 2>errors &`)
		m := mark(cmd)
		fifo := filepath.Join(cmd.Dir, "go")
		if err := unix.Mkfifo(fifo, 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(fifo, 0o666)
		cmd.Env = append(cmd.Env, "CLIPPER_DIR=sessions") // below a directory that netd leaves
		cmd.SysProcAttr.Pdeathsig = 0
		r := finish(t, cmd)
		r.leaves(t, 0)
		// Whoever clears away leftovers takes it for none.
		next := w.command(t, clipper(t), "up", "-q", "--no-devtools", "--", "true")
		next.Env, next.Dir = append(next.Env, "CLIPPER_DIR=sessions"), cmd.Dir
		if again := finish(t, next); again.code != 0 {
			t.Errorf("exit %d\n%s", again.code, again.stderr)
		}
		left, _ := filepath.Glob(filepath.Join(cmd.Dir, "sessions", "*", "*"))
		for i := range left {
			left[i] = filepath.Base(left[i])
		}
		if got := strings.Join(left, " "); got != "jsse-agent.jar jsse-keys lock sslkeylog" {
			t.Errorf("left of the session: %s", got)
		}
		for _, last := range []bool{false, true} {
			if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
				t.Fatal(err)
			}
			if !last {
				eventually(t, "the daemon has run its programs", func() bool { _, err := os.Stat(filepath.Join(cmd.Dir, "end")); return err == nil })
			}
		}
		for _, name := range []string{"python", "java"} {
			if _, err := os.Stat(filepath.Join(cmd.Dir, name)); err != nil && strings.Contains(programs, "touch "+name) {
				b, _ := os.ReadFile(filepath.Join(cmd.Dir, "errors"))
				t.Errorf("%s failed: %s", name, b)
			}
		}
		eventually(t, "nothing runs", func() bool { return len(marked(m)) == 0 })
		nothingLeft(t, r)
	})
}

func TestWaitAllAndKillAll(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		url := hostHTTP(t)
		cmd := w.command(t, clipper(t), "up", "--no-devtools", "--wait-all", "--", "sh", "-c", `setsid sh -c 'sleep 1; curl -sS '"$0"' >result' & exit 4`, url)
		m := mark(cmd)
		r := finish(t, cmd)
		r.wants(t, 4, "waiting for ", "GET") // the daemon's request is recorded
		if b, _ := os.ReadFile(filepath.Join(r.dir, "result")); string(b) != "hello" {
			t.Errorf("the daemon got %q", b)
		}
		eventually(t, "nothing is left", func() bool { return len(marked(m)) == 0 })

		cmd = w.command(t, clipper(t), "up", "--no-devtools", "--kill-all", "--", "sh", "-c", `setsid sleep 1000 & nohup sleep 1001 >/dev/null 2>&1 & exit 5`)
		m = mark(cmd)
		r = finish(t, cmd)
		r.wants(t, 5)
		if strings.Contains(r.stderr, "running") {
			t.Errorf("stderr %q", r.stderr)
		}
		eventually(t, "nothing is left", func() bool { return len(marked(m)) == 0 })
	})
}

// TestSignals: what is sent to clipper reaches the command, as if it had been
// started without.
func TestSignals(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		for _, flag := range []string{"--kill-all=false", "--kill-all"} {
			cmd := w.command(t, clipper(t), "up", "-q", "--no-devtools", flag, "--", "/usr/bin/python3", "-uc", `
import signal, sys
def got(n, frame):
    print(signal.Signals(n).name)
    if n == signal.SIGTERM: sys.exit(9)
for name in "HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM": signal.signal(signal.Signals["SIG" + name], got)
print("ready")
while True: signal.pause()`)
			cmd.SysProcAttr.Setsid = true // no terminal
			var out, errs syncBuffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the command runs", func() bool { return out.String() == "ready\n" })
			want := "ready\n"
			for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGTERM} {
				cmd.Process.Signal(sig)
				want += unix.SignalName(sig) + "\n"
				eventually(t, "the command got "+unix.SignalName(sig), func() bool { return out.String() == want })
			}
			if cmd.Wait(); cmd.ProcessState.ExitCode() != 9 || errs.String() != "" {
				t.Errorf("exit %d %s", cmd.ProcessState.ExitCode(), errs.String())
			}
		}
	})
}

// netns counts the network namespaces that processes of this machine are in.
func netns() map[string]bool {
	all := map[string]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, l := range links {
		if s, err := os.Readlink(l); err == nil {
			all[s] = true
		}
	}
	return all
}

// TestNothingLeft ends sessions in every way there is. Nothing may be left of any.
func TestNothingLeft(t *testing.T) {
	ends := map[string]func(t *testing.T, cmd *exec.Cmd, app int){
		"the command ends":      func(_ *testing.T, _ *exec.Cmd, app int) { syscall.Kill(app, syscall.SIGTERM) },
		"the command is killed": func(_ *testing.T, _ *exec.Cmd, app int) { syscall.Kill(app, syscall.SIGKILL) },
		"SIGTERM":               func(_ *testing.T, cmd *exec.Cmd, _ int) { cmd.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":                func(_ *testing.T, cmd *exec.Cmd, _ int) { cmd.Process.Signal(syscall.SIGHUP) },
		"SIGKILL":               func(_ *testing.T, cmd *exec.Cmd, _ int) { cmd.Process.Kill() },
		"SIGKILL and netd's": func(t *testing.T, cmd *exec.Cmd, app int) {
			netd := rolePID(t, cmd, "netd")
			cmd.Process.Kill()
			syscall.Kill(netd, syscall.SIGKILL)
		},
		"every role is killed, then the command": func(t *testing.T, cmd *exec.Cmd, app int) {
			for _, role := range []string{"netd", "capture", "keyhook", "reassembler", "tlsdec", "httpdec", "cdpgw"} {
				syscall.Kill(rolePID(t, cmd, role), syscall.SIGKILL)
			}
			syscall.Kill(app, syscall.SIGKILL)
		},
	}
	w := plainUser(t)
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			mounts := string(readFile(t, "/proc/self/mountinfo"))
			cmd := w.command(t, clipper(t), "up", "-q", "--", "sh", "-c", `echo $$; while :; do sleep 1000; done`)
			m := mark(cmd)
			cmd.Env = append(cmd.Env, "TMPDIR="+cmd.Dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			app, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", app))
			if err != nil {
				t.Fatal(err)
			}
			rolePID(t, cmd, "cdpgw")
			end(t, cmd, app)
			killed := name == "SIGKILL and netd's"
			if !killed {
				// sh's own child outlives it, as outside.
				eventually(t, "the command is gone", func() bool { return gone(app) })
			}
			cmd.Wait()
			if strings.HasPrefix(name, "SIGKILL") {
				if !killed {
					eventually(t, "nothing runs", func() bool { return len(marked(m)) == 0 })
				}
			}
			eventually(t, "nothing runs", func() bool {
				left := marked(m)
				for _, pid := range left { // the child
					if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(b) == "sleep\n" {
						syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				return len(left) == 0
			})
			eventually(t, "the namespace is gone", func() bool { return !netns()[ns] })
			if killed { // nobody is left who could do it: the next run does
				next := w.command(t, clipper(t), "up", "-q", "--no-devtools", "--", "true")
				next.Env = append(next.Env, "CLIPPER_DIR="+filepath.Join(cmd.Dir, "sessions"))
				finish(t, next)
			}
			eventually(t, "the session's files are gone", func() bool {
				left, _ := os.ReadDir(filepath.Join(cmd.Dir, "sessions"))
				return len(left) == 0
			})
			if all, _ := filepath.Glob(filepath.Join(cmd.Dir, "*")); len(all) != 1 { // sessions
				t.Errorf("left behind: %v", all)
			}
			eventually(t, "no mount is left but those of others, which end as well", func() bool {
				for line := range strings.Lines(string(readFile(t, "/proc/self/mountinfo"))) {
					if !strings.Contains(mounts, line) {
						return false
					}
				}
				return true
			})
		})
	}
}
