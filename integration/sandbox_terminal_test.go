package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tty is a pseudo-terminal with an interactive shell on it.
type tty struct {
	t    *testing.T
	f    *os.File
	text syncBuffer
	seen int
}

// openTTY starts bash as w on a terminal of 33 rows and 101 columns.
func openTTY(t *testing.T, w who) *tty {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	p := &tty{t: t, f: f}
	var n int
	p.control(func(fd int) {
		unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
		n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	})
	if err != nil {
		t.Fatal(err)
	}
	p.resize(33, 101)
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	if w.name != "" {
		side.Chown(w.uid, w.gid)
	}
	cmd := w.command(t, "bash", "--norc", "--noprofile", "-i")
	cmd.Env = append(cmd.Env, "PS1=prompt> ", "HISTFILE=", "TERM=xterm", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LESS=", "clipper="+clipper(t)+" up -q --no-devtools --")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			if err != nil {
				return
			}
			p.text.Write(b[:n])
		}
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP)
		cmd.Process.Kill()
		cmd.Wait()
		f.Close()
	})
	p.send("bind 'set enable-bracketed-paste off'; echo rea''dy\n")
	p.expect("\rready\r\n")
	p.expect("prompt> ")
	return p
}

func (p *tty) control(f func(fd int)) {
	rc, err := p.f.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { f(int(fd)) })
}

func (p *tty) resize(rows, columns uint16) {
	p.control(func(fd int) {
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

func (p *tty) send(s string) {
	p.t.Helper()
	if _, err := p.f.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for text after what was expected before; a minute is never.
func (p *tty) expect(s string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		text := p.text.String()
		if i := strings.Index(text[p.seen:], s); i >= 0 {
			p.seen += i + len(s)
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q on the terminal after %q", s, text[max(0, p.seen-200):])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTerminal: a shell's jobs and programs that take the whole screen behave as
// they do without Clipper.
func TestTerminal(t *testing.T) {
	for _, program := range []string{"vim", "top", "less"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	everybody(t, func(t *testing.T, w who) {
		p := openTTY(t, w)
		run := func(command string) { p.send("$clipper " + command + "\n") }
		status := func(want int) {
			t.Helper()
			p.expect("prompt> ")
			p.send("echo sta''tus $?.\n")
			p.expect(fmt.Sprintf("\r\nstatus %d.", want))
			p.expect("prompt> ")
		}
		run("tty")
		p.expect("/dev/pts/")
		status(0)
		run("sh -c 'stty size; exit 5'")
		p.expect("33 101")
		status(5)

		run(`sh -c 'echo go''ing; exec sleep 100'`)
		p.expect("going")
		p.send("\x03")
		status(130)
		run(`sh -c 'echo go''ing; exec sleep 100'`)
		p.expect("going")
		p.send("\x1c")
		status(131)

		// ^Z stops the job, fg goes on with it; other jobs go on meanwhile.
		run(`sh -c 'echo go''ing; read x; echo got $x; exit 9'`)
		p.expect("going")
		p.send("\x1a")
		p.expect("Stopped")
		p.expect("prompt> ")
		run(`sh -c 'exit 6'`)
		status(6)
		p.send("fg\n")
		p.expect("read x")
		p.send("word\n")
		p.expect("got word")
		status(9)

		// In the background, and in a pipeline.
		p.send("$clipper sh -c 'exit 3' & wait $!\n")
		status(3)
		p.send("echo abc | $clipper tr a-c A-C | $clipper cat -A\n")
		p.expect("\r\nABC$")
		status(0)

		// The size changes while the program runs.
		run(`bash -c 'trap "stty size; exit 4" WINCH; echo go''ing; while :; do sleep 0.05; done'`)
		p.expect("going")
		p.resize(40, 120)
		p.expect("40 120")
		status(4)

		run("less /etc/passwd")
		p.expect("root:")
		p.send("q")
		status(0)
		run("top -b -n1 | head -1")
		p.expect("top - ")
		status(0)
		run("top")
		p.expect("load average")
		p.send("q")
		status(0)
		run("vim -u NONE file")
		p.expect("~")
		p.send("ihello\x1b")
		p.expect("hello")
		p.send("\x1a")
		p.expect("Stopped")
		p.expect("prompt> ")
		p.send("fg\n")
		p.expect("hello")
		p.send(":wq\r")
		status(0)

		// A shell inside has job control of its own.
		run("bash --norc --noprofile -i")
		p.expect("prompt> ")
		// Without exec, ^Z may hit the shell's vfork, which hangs outside, too.
		p.send("sh -c 'echo go''ing; exec sleep 100'\n")
		p.expect("going")
		p.send("\x1a")
		p.expect("Stopped")
		p.expect("prompt> ")
		p.send("kill -KILL %1; wait %1; echo in''side\n")
		p.expect("inside")
		p.expect("prompt> ")
		p.send("exit 7\n")
		status(7)
		p.send("cat file\n")
		p.expect("\r\nhello")
		if left, _ := filepath.Glob(filepath.Join(workDir, "d*", "sessions", "*", "lock")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}
