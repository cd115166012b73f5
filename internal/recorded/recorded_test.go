package recorded

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// record makes a recording with a packet file of some size.
func record(t *testing.T, name string) *Recorder {
	t.Helper()
	r, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.Packets(), []byte("packets"), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLifeOfARecording(t *testing.T) {
	base := filepath.Join(t.TempDir(), "data")
	t.Setenv("CLIPPER_DATA", base)
	if all, err := List(); err != nil || len(all) != 0 {
		t.Fatalf("List = %v, %v", all, err)
	}
	r := record(t, "one")
	if _, err := Create("one"); err == nil || !strings.Contains(err.Error(), "clipper rm one") {
		t.Errorf("a second of the name: %v", err)
	}
	if err := Remove("one"); err == nil || !strings.Contains(err.Error(), "being recorded") {
		t.Errorf("Remove while it is written: %v", err)
	}
	if f, _, err := Find("one"); err != nil || !f.Recording || !f.Ended.IsZero() {
		t.Errorf("Find = %+v, %v", f, err)
	}
	r.Facts.Command, r.Facts.Exchanges = []string{"curl"}, 3
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, path, err := Find("one")
	if err != nil || f.Recording || f.Ended.IsZero() || f.Exchanges != 3 || f.Size != 7 || path != r.Packets() {
		t.Errorf("Find = %+v %s, %v", f, path, err)
	}
	for _, p := range []string{base, filepath.Join(base, "one"), path, filepath.Join(base, "one", factsFile)} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", p, fi.Mode(), err)
		}
	}
	record(t, "two").Close()
	if all, err := List(); err != nil || len(all) != 2 || all[0].Name != "two" {
		t.Errorf("List = %+v, %v", all, err)
	}
	if err := Remove("one"); err != nil {
		t.Error(err)
	}
	if _, _, err := Find("one"); !errors.Is(err, ErrNone) {
		t.Errorf("Find = %v", err)
	}
	if err := Remove("one"); !errors.Is(err, ErrNone) {
		t.Errorf("Remove = %v", err)
	}
}

// TestKilledRecorder: what a killed one left is found, also with damaged facts.
func TestKilledRecorder(t *testing.T) {
	t.Setenv("CLIPPER_DATA", t.TempDir())
	r := record(t, "one")
	r.lock.Close() // as the kernel does at SIGKILL
	os.WriteFile(filepath.Join(r.dir, factsFile), []byte("{"), 0o600)
	if f, _, err := Find("one"); err != nil || f.Recording || f.Name != "one" || f.Started.IsZero() {
		t.Errorf("Find = %+v, %v", f, err)
	}
}

func TestNames(t *testing.T) {
	t.Setenv("CLIPPER_DATA", t.TempDir())
	for _, name := range []string{"", ".", "..", "../x", "a/b", "-a", ".a", "a b", "ä", "a\n", strings.Repeat("a", 65)} {
		if _, err := Create(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
		if err := Remove(name); err == nil {
			t.Errorf("%q was removed", name)
		}
	}
}
