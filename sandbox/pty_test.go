//go:build linux

package sandbox_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with an interactive shell on it.
type terminal struct {
	t    *testing.T
	f    *os.File
	cmd  *exec.Cmd
	mu   sync.Mutex
	text strings.Builder
	seen int
}

func openTerminal(t *testing.T, w *who) *terminal {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	rc, _ := f.SyscallConn()
	var n int
	rc.Control(func(fd uintptr) {
		unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 101})
	})
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer side.Close()
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	w.dress(cmd)
	cmd.Env = append(cmd.Env, "PS1=prompt> ", "HISTFILE=", "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, f: f, cmd: cmd}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := f.Read(b)
			if err != nil {
				return
			}
			term.mu.Lock()
			term.text.Write(b[:n])
			term.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		f.Close()
	})
	return term
}

func (p *terminal) send(s string) {
	p.t.Helper()
	if _, err := p.f.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for text after what was expected before; a minute is never.
func (p *terminal) expect(s string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		p.mu.Lock()
		text := p.text.String()
		i := strings.Index(text[p.seen:], s)
		if i >= 0 {
			p.seen += i + len(s)
		}
		p.mu.Unlock()
		if i >= 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("no %q on the terminal after %q", s, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A job of an interactive shell behaves in a sandbox as outside.
func TestJobControl(t *testing.T) {
	for _, killAll := range []bool{false, true} {
		t.Run(fmt.Sprint("killAll=", killAll), func(t *testing.T) {
			w := caller(t)
			var s settings
			s.Spec.KillAll = killAll
			config, _ := json.Marshal(s)
			p := openTerminal(t, w)
			run := fmt.Sprintf("'%s' up '%s' ", w.bin, config)
			p.expect("prompt> ")

			p.send(run + "stty size\n")
			p.expect("\r\n33 101\r\n")
			p.send(run + "sh -c 'echo st''arted; exec sleep 100'\n")
			p.expect("started")
			p.send("\x03")
			p.expect("prompt> ")
			p.send("echo status $?\n")
			p.expect("\r\nstatus 130")

			// ^Z stops the job, fg goes on with it.
			p.send(run + "sh -c 'echo st''arted; read x; echo got $x; exit 9'\n")
			p.expect("started")
			p.send("\x1a")
			p.expect("Stopped")
			p.expect("prompt> ")
			p.send("fg\n")
			p.expect("read x")
			p.send("word\n")
			p.expect("got word")
			p.send("echo status $?\n")
			p.expect("\r\nstatus 9")

			// A program that stops itself alone, and one that takes no ^Z.
			if !killAll {
				p.send(run + "sh -c 'trap \"\" TSTP; echo st''arted; read x; echo got $x; exit 6'\n")
				p.expect("started")
				p.send("\x1a")
				p.send("word\n")
				p.expect("got word")
				p.send("echo status $?\n")
				p.expect("\r\nstatus 6")

				p.send(run + "sh -c 'kill -STOP $$; echo again; exit 8'\n")
				p.expect("Stopped")
				p.send("fg\n")
				p.expect("\r\nagain")
				p.send("echo status $?\n")
				p.expect("\r\nstatus 8")
			}

			// A shell inside has job control of its own.
			p.send(run + "bash --norc --noprofile -i\n")
			p.expect("prompt> ")
			// Without exec, ^Z may hit the shell's vfork, which hangs outside, too.
			p.send("sh -c 'echo go''ing; exec sleep 100'\n")
			p.expect("going")
			p.send("\x1a")
			p.expect("Stopped")
			p.send("kill %1; wait; sh -c 'exit 7'; exit\n")
			p.expect("exit\r\n")
			p.expect("prompt> ")
			p.send("echo status $?\n")
			p.expect("\r\nstatus 7")
			p.send("exit\n")
			p.cmd.Wait()
		})
	}
}
