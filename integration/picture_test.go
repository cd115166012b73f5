package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"clipper/cdpgw/browsertest/browser"

	"github.com/robert-nix/ansihtml"
)

// picture writes a picture of the terminal into the documentation, with -shots.
func (s *screen) picture(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	out, err := s.tmux("capture-pane", "-p", "-e").Output()
	if err != nil {
		t.Fatalf("tmux: %v", err)
	}
	out = bytes.ReplaceAll(out, []byte("\x1b[7m"), []byte("\x1b[30;47m")) // the converter knows no reverse video
	page := filepath.Join(t.TempDir(), "terminal.html")
	html := fmt.Sprintf(`<!doctype html><meta charset="utf-8"><style>
		body { margin: 0; background: #1e1e1e; }
		pre { margin: 20px; color: #d4d4d4; font: 24px/32px "DejaVu Sans Mono", monospace; }
	</style><pre>%s</pre>`, ansihtml.ConvertToHTML(out))
	if err := os.WriteFile(page, []byte(html), 0o644); err != nil {
		t.Fatal(err)
	}
	b := browser.Start(t)
	b.Open("file://" + page)
	b.Screenshot(filepath.Join(*shots, name))
}
