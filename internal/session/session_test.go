package session

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
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
	if gone, err := Sweep(base, nil); err != nil || len(gone) != 0 {
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
	gone, err := Sweep(base, nil)
	if err != nil || len(gone) != 1 || gone[0] != s.Dir {
		t.Fatalf("Sweep = %v, %v, want [%s]", gone, err, s.Dir)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there", s.Dir)
	}
}

func TestSweepRemovesADirectoryWithoutALock(t *testing.T) {
	base := t.TempDir()
	os.Chmod(base, 0o700)
	dir := filepath.Join(base, "half")
	os.Mkdir(dir, 0o700)
	gone, err := Sweep(base, nil)
	if err != nil || len(gone) != 1 || gone[0] != dir {
		t.Fatalf("Sweep = %v, %v, want [%s]", gone, err, dir)
	}
}

// TestSweepSparesWhatIsBeingMade: many runs begin at once, each sweeping and
// listing as it does; none loses its directory or its lock.
func TestSweepSparesWhatIsBeingMade(t *testing.T) {
	base := filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				s, err := New(base)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := Sweep(base, nil); err != nil {
					t.Error(err)
				}
				if _, err := List(base); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(s.Path("lock")); err != nil {
					t.Error(err)
				}
				if err := s.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNewRefusesADirectoryOthersCanUse(t *testing.T) {
	base := t.TempDir()
	os.Chmod(base, 0o755)
	if s, err := New(base); err == nil {
		t.Fatalf("New in a 0755 directory gave %v", s)
	}
}
