package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clipper/integration/truth"
)

// TestReadShowsProgress: a long read has a bar below the request lines, which
// goes away with it.
func TestReadShowsProgress(t *testing.T) {
	s, ca := truthServer(t, truth.Options{})
	r := run(t, plainUser(t), "up", "-q", "--no-devtools", "-w", "out.pcapng", "--", "curl", "-sS", "--cacert", ca, "-o", "/dev/null", s.URL+"/json/x")
	if r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.stderr)
	}
	capture := readFile(t, filepath.Join(r.dir, "out.pcapng"))
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	term := newScreen(t, t.TempDir(), clipper(t), "read", fifo)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	half := len(capture) / 2
	w.Write(capture[:half])
	term.shows(t, "reading  ")
	w.Write(capture[half:])
	w.Close()
	text := term.shows(t, "[exit 0]")
	if strings.Contains(text, "reading") || !strings.Contains(text, "200 GET    "+s.URL+"/json/x") {
		t.Errorf("the terminal shows\n%s", text)
	}
}
