package session

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSessionLivesAndGoes(t *testing.T) {
	base := filepath.Join(t.TempDir(), "s")
	s, err := New(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{base, s.Dir} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v, want 0700", p, fi.Mode(), err)
		}
	}
	if err := s.Write(Facts{ID: s.ID, PID: os.Getpid(), Command: []string{"curl"}}); err != nil {
		t.Fatal(err)
	}
	all, err := List(base)
	if err != nil || len(all) != 1 || all[0].ID != s.ID {
		t.Fatalf("List = %v, %v", all, err)
	}
	if gone, err := Sweep(base); err != nil || len(gone) != 0 {
		t.Fatalf("Sweep removed a living session: %v, %v", gone, err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestSweepRemovesWhatAKilledSessionLeft(t *testing.T) {
	base := filepath.Join(t.TempDir(), "s")
	s, err := New(base)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(s.Path("data"), []byte("x"), 0o600)
	s.lock.Close() // as the kernel does at SIGKILL
	gone, err := Sweep(base)
	if err != nil || len(gone) != 1 || gone[0] != s.Dir {
		t.Fatalf("Sweep = %v, %v, want [%s]", gone, err, s.Dir)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", s.Dir)
	}
}

func TestSweepSparesWhatIsBeingMade(t *testing.T) {
	base := t.TempDir()
	young, old := filepath.Join(base, "young"), filepath.Join(base, "old")
	os.Mkdir(young, 0o700)
	os.Mkdir(old, 0o700)
	past := time.Now().Add(-time.Hour)
	os.Chtimes(old, past, past)
	gone, err := Sweep(base)
	if err != nil || len(gone) != 1 || gone[0] != old {
		t.Fatalf("Sweep = %v, %v, want [%s]", gone, err, old)
	}
}

func TestNewRefusesADirectoryOthersCanUse(t *testing.T) {
	base := t.TempDir()
	os.Chmod(base, 0o755)
	if s, err := New(base); err == nil {
		t.Fatalf("New in a 0755 directory gave %v", s)
	}
}
