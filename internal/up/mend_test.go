package up

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"clipper/internal/session"
	"clipper/internal/sink"
)

// TestSweepMends: files of a killed session become whole, but for those that are not
// its any more or that another session writes.
func TestSweepMends(t *testing.T) {
	base, dir := t.TempDir(), t.TempDir()
	if err := os.Chmod(base, 0o700); err != nil {
		t.Fatal(err)
	}
	const head = `{"log":{"version":"1.2","creator":{"name":"Clipper","version":""},"entries":[`
	const cut = head + "\n{\"a\":1}\n,{\"b"
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	killed := func(har, lines string) {
		s, err := session.New(base)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{session: s, o: Options{HAR: har, JSON: lines}}
		if err := r.noteFiles(); err != nil {
			t.Fatal(err)
		}
		// A leftover is one without a lock.
		if err := os.Remove(s.Path("lock")); err != nil {
			t.Fatal(err)
		}
	}
	har, lines := write("har", cut), write("lines", "{}\n{\"b")
	moved, busy := write("moved", cut), write("busy", cut)
	killed(har, lines)
	killed(moved, sink.Stdout)
	killed(busy, "")
	if err := os.Rename(moved, moved+".old"); err != nil {
		t.Fatal(err)
	}
	write("moved", cut)
	f, err := os.OpenFile(busy, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sink.Lock(f); err != nil {
		t.Fatal(err)
	}

	if err := Sweep(base); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(base); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if b, _ := os.ReadFile(har); !json.Valid(b) {
		t.Errorf("the HAR is %s", b)
	}
	for path, want := range map[string]string{lines: "{}\n", moved: cut, busy: cut} {
		if b, _ := os.ReadFile(path); string(b) != want {
			t.Errorf("%s is %s", path, b)
		}
	}
}
