package integration

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
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
	path := filepath.Join(*shots, name)
	b.Screenshot(path)
	crop(t, path)
}

// crop takes the empty lines at the end of a picture away.
func crop(t *testing.T, path string) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	r := picture.Bounds()
	empty := func(y int) bool {
		for x := r.Min.X; x < r.Max.X; x++ {
			if picture.At(x, y) != picture.At(r.Min.X, r.Min.Y) {
				return false
			}
		}
		return true
	}
	const margin = 20
	for r.Max.Y > r.Min.Y+margin && empty(r.Max.Y-margin) {
		r.Max.Y--
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture.(interface {
		SubImage(image.Rectangle) image.Image
	}).SubImage(r)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
