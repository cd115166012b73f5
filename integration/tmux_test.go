package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// screen is a real terminal of 100 x 30 cells.
type screen struct{ socket string }

// newScreen starts argv in a terminal; a shell stays in it afterwards, so that
// what was last on it can be seen.
func newScreen(t *testing.T, dir string, argv ...string) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	s := &screen{socket: filepath.Join(t.TempDir(), "tmux")}
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	cmd := s.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-c", dir, strings.Join(quoted, " ")+"; echo \"[exit $?]\"; exec cat")
	cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8", "TERM=screen-256color")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v %s", err, out)
	}
	t.Cleanup(func() { s.tmux("kill-server").Run() })
	return s
}

func (s *screen) tmux(args ...string) *exec.Cmd {
	return exec.Command("tmux", append([]string{"-u", "-S", s.socket}, args...)...)
}

// text is what the terminal shows.
func (s *screen) text(t *testing.T) string {
	t.Helper()
	out, err := s.tmux("capture-pane", "-p").Output()
	if err != nil {
		t.Fatalf("tmux: %v", err)
	}
	return string(out)
}

// shows waits until the terminal shows what.
func (s *screen) shows(t *testing.T, what string) (text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the terminal shows\n%s", text)
		}
	}()
	eventually(t, what+" on the terminal", func() bool {
		text = s.text(t)
		return strings.Contains(text, what)
	})
	return text
}

// keys presses keys, in tmux's names.
func (s *screen) keys(t *testing.T, keys ...string) {
	t.Helper()
	if out, err := s.tmux(append([]string{"send-keys"}, keys...)...).CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v %s", err, out)
	}
}
