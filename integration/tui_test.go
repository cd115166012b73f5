package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// fullScreen starts clipper in a terminal; what is recorded belongs into dir.
func fullScreen(t *testing.T, dir string, args ...string) *screen {
	t.Helper()
	env := []string{"env", "CLIPPER_DIR=" + filepath.Join(dir, "s"), "CLIPPER_DATA=" + filepath.Join(dir, "data"), clipper(t)}
	return newScreen(t, dir, append(env, args...)...)
}

// TestFullScreen: a session in the full-screen view of a real terminal, which the
// command's output does not disturb, and the same as a recording.
func TestFullScreen(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	dir := t.TempDir()
	end := filepath.Join(dir, "end")
	curl := "curl -sS --cacert " + ca
	script := filepath.Join(dir, "app.sh")
	os.WriteFile(script, fmt.Appendf(nil, `printf '\033[31mhello\033[0m\n'; test -t 1 && echo tty
%s -H "X-Probe: 42" %s/json/one
%s -o /dev/null -o /dev/null -o /dev/null %s/size/50000 %s/status/503 %s/status/404
until [ -e %s ]; do sleep 0.1; done
echo bye; exit 7`, curl, srv.URL, curl, srv.URL, srv.URL, srv.URL, end), 0o644)
	s := fullScreen(t, dir, "up", "--tui", "--keep", "monday", "--", "sh", "app.sh")
	s.shows(t, "/status/404")
	text := s.shows(t, "running")
	if strings.Contains(text, "hello") || !strings.Contains(text, "STATUS METHOD HOST") || !strings.Contains(text, "4 exchanges") {
		t.Errorf("the list is disturbed:\n%s", text)
	}
	s.picture(t, "fullscreen.png")
	s.keys(t, "o")
	if text := s.shows(t, "hello"); strings.Contains(text, "tty") {
		t.Errorf("the command has the terminal:\n%s", text)
	}
	s.keys(t, "Escape")
	s.shows(t, "STATUS METHOD HOST")
	s.keys(t, "g", "Enter")
	s.shows(t, "Request headers")
	s.picture(t, "fullscreen-detail.png")
	s.keys(t, "/")
	s.shows(t, "search:")
	s.keys(t, "x-probe", "Enter", "G")
	s.shows(t, "Response body")
	s.keys(t, "q")
	s.shows(t, "STATUS METHOD HOST")
	s.keys(t, "f")
	s.shows(t, "filter:")
	s.keys(t, "status >= 400", "Enter")
	if text := s.shows(t, "2 of 4 exchanges"); strings.Contains(text, "/json/one") {
		t.Errorf("the filter lets it pass:\n%s", text)
	}
	os.WriteFile(end, nil, 0o644)
	s.shows(t, "ended (exit status 7)")
	s.keys(t, "Escape") // a key that follows at once would be one with Alt
	s.shows(t, "/json/one")
	s.keys(t, "q")
	text = s.shows(t, "[exit 7]")
	for _, want := range []string{"hello", "bye", "4 exchanges with 1 host", "kept     as monday"} {
		if !strings.Contains(text, want) {
			t.Errorf("after the view the terminal lacks %q:\n%s", want, text)
		}
	}

	open := fullScreen(t, dir, "open", "--tui", "monday")
	open.shows(t, "/status/404")
	open.keys(t, "/")
	open.shows(t, "search:")
	open.keys(t, "json", "Enter")
	open.shows(t, "1 of 4 exchanges")
	open.keys(t, "C-c")
	open.shows(t, "[exit 0]")
}

// TestFullScreenInterrupt: Ctrl-C in the view is the command's; leaving the view
// leaves the session.
func TestFullScreenInterrupt(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	s := fullScreen(t, dir, "up", "--tui", "--no-devtools", "--", "sh", "-c", `trap 'echo caught; exit 5' INT; : >`+ready+`; while :; do sleep 0.1; done`)
	eventually(t, "the command runs", func() bool { return fileExists(ready) })
	s.shows(t, "running")
	s.keys(t, "C-c")
	s.shows(t, "ended (exit status 5)")
	s.keys(t, "q")
	s.shows(t, "caught")
	s.shows(t, "[exit 5]")

	gone := filepath.Join(dir, "gone")
	s = fullScreen(t, dir, "up", "--tui", "--no-devtools", "--", "sh", "-c", `echo before; until [ -e `+gone+` ]; do sleep 0.1; done; echo after`)
	s.shows(t, "running")
	s.keys(t, "q")
	s.shows(t, "before")
	os.WriteFile(gone, nil, 0o644)
	s.shows(t, "after")
	s.shows(t, "[exit 0]")
}

// TestFullScreenTap: the view in another terminal than the command's, also when the
// session has ended.
func TestFullScreenTap(t *testing.T) {
	srv, ca := truthServer(t, truth.Options{})
	s := startSession(t, root, "-q", "--no-devtools")
	curl := fmt.Sprintf("curl -sS -o /dev/null --cacert %s %s/json/", ca, srv.URL)
	s.do(t, curl+"one")
	tap := newScreen(t, t.TempDir(), "env", "CLIPPER_DIR="+filepath.Join(s.cmd.Dir, "sessions"), clipper(t), "tap", "http", "--tui")
	tap.shows(t, "/json/one")
	s.do(t, curl+"two")
	tap.shows(t, "/json/two")
	s.end(t)
	tap.shows(t, "ended")
	tap.keys(t, "G", "Enter")
	tap.shows(t, "Response headers")
	tap.keys(t, "G")
	tap.shows(t, "Response body")
	tap.keys(t, "q")
	tap.shows(t, "2 exchanges")
	tap.keys(t, "q")
	tap.shows(t, "[exit 0]")
}

func TestFullScreenNeedsATerminal(t *testing.T) {
	if r := run(t, plainUser(t), "up", "--tui", "--", "touch", "ran"); r.code != 125 || !strings.Contains(r.stderr, "--tui needs a terminal") || fileExists(filepath.Join(r.dir, "ran")) {
		t.Errorf("exit %d %s", r.code, r.stderr)
	}
}

// TestFullScreenHangup: when the terminal goes away, so do the view and the session.
func TestFullScreenHangup(t *testing.T) {
	dir := t.TempDir()
	s := fullScreen(t, dir, "up", "--tui", "--no-devtools", "--", "sleep", "1000")
	s.shows(t, "running")
	if err := s.tmux("kill-server").Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the session is gone", func() bool {
		left, err := os.ReadDir(filepath.Join(dir, "s"))
		return err == nil && len(left) == 0
	})
}
