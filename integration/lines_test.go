package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"clipper/integration/truth"
)

// TestLinesOnATerminal: request lines in colour, and the summary, on a real terminal.
func TestLinesOnATerminal(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	script := ""
	for _, path := range []string{"/json/users", "/size/50000", "/status/404", "/status/503", "/slow/120"} {
		script += fmt.Sprintf("curl -s -o /dev/null --cacert %s %s%s; ", ca, s.URL, path)
	}
	script += fmt.Sprintf("curl -s -o /dev/null %s/not-trusted; true", s.URL)
	term := newScreen(t, t.TempDir(), "env", "CLIPPER_DIR="+filepath.Join(t.TempDir(), "sessions"), clipper(t), "up", "--no-devtools", "--", "sh", "-c", script)
	text := term.shows(t, "[exit 0]")
	for _, want := range []string{"200 GET    " + s.URL + "/json/users", "50.0 kB", "404 GET ", "503 GET ", "???", "curl[", "5 exchanges with 1 host"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "no-secret") { // the client's alert is what there is to say of the connection
		t.Errorf("the terminal has two verdicts on a connection:\n%s", text)
	}
	coloured, err := term.tmux("capture-pane", "-p", "-e").Output()
	if err != nil {
		t.Fatal(err)
	}
	for status, colour := range map[string]string{"200": "32", "404": "33", "503": "31"} {
		if !strings.Contains(string(coloured), "\x1b["+colour+"m"+status) {
			t.Errorf("%s is not in colour %s: %q", status, colour, coloured)
		}
	}
	term.picture(t, "terminal.png")
}
