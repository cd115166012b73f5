package roles

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script makes a program for a role.
func script(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "role")
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func supervisor(t *testing.T) *Supervisor {
	return &Supervisor{LogDir: t.TempDir()}
}

func pid(s *Supervisor, name string) int {
	for _, st := range s.States() {
		if st.Name == name {
			return st.PID
		}
	}
	return 0
}

// eventually polls until ok; a minute is never.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestKilledRoleIsStartedAgain(t *testing.T) {
	s := supervisor(t)
	if err := s.Start(Spec{Name: "r", Path: script(t, "exec sleep 60")}); err != nil {
		t.Fatal(err)
	}
	first := pid(s, "r")
	syscall.Kill(first, syscall.SIGKILL)
	eventually(t, "a new process", func() bool { p := pid(s, "r"); return p != first && p != 0 })
	if err := s.Stop("r", time.Minute); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if p := pid(s, "r"); p != 0 {
		t.Errorf("process %d is left", p)
	}
}

func TestRoleThatKeepsDyingIsGivenUpWithItsLastWords(t *testing.T) {
	s := supervisor(t)
	said := make(chan error, 1)
	s.GaveUp = func(_ string, err error) { said <- err }
	if err := s.Start(Spec{Name: "r", Path: script(t, "echo no disk space >&2; exit 3")}); err != nil {
		t.Fatal(err)
	}
	if err := <-said; !strings.Contains(err.Error(), "no disk space") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the report was %q", err)
	}
}

func TestFinalRoleMayEnd(t *testing.T) {
	s := supervisor(t)
	s.Ending()
	if err := s.Start(Spec{Name: "r", Path: script(t, "exit 0"), Final: true}); err != nil {
		t.Fatal(err)
	}
	<-s.Done("r")
	if err := s.Err("r"); err != nil {
		t.Errorf("Err = %v", err)
	}
}

// TestFinalRoleThatEndsEarly: one that has nothing more to do while the session runs
// does not do its work.
func TestFinalRoleThatEndsEarly(t *testing.T) {
	s := supervisor(t)
	said := make(chan error, 1)
	s.GaveUp = func(_ string, err error) { said <- err }
	program := script(t, "exit 0")
	if err := s.Start(Spec{Name: "r", Path: program, Final: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-said; !strings.Contains(err.Error(), "ended before its work was done") || !strings.Contains(err.Error(), program) {
		t.Errorf("the report was %q", err)
	}
}

func TestStopKillsAfterTheLimit(t *testing.T) {
	s := supervisor(t)
	mark := filepath.Join(t.TempDir(), "up")
	if err := s.Start(Spec{Name: "r", Path: script(t, "trap '' TERM; : >"+mark+"; while :; do sleep 1; done")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trap is set", func() bool { _, err := os.Stat(mark); return err == nil })
	if err := s.Stop("r", 200*time.Millisecond); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("Stop = %v", err)
	}
}

func TestOptionsAndFilesReachTheRole(t *testing.T) {
	s := supervisor(t)
	s.Ending()
	out := filepath.Join(t.TempDir(), "out")
	r, w, _ := os.Pipe()
	w.WriteString("hello\n")
	w.Close()
	err := s.Start(Spec{Name: "r", Final: true, Access: "/nowhere", Options: map[string]int{"fd": 3}, Files: []*os.File{r},
		Path: script(t, `{ echo "$CLIPPER_ROLE_OPTIONS $CLIPPER_ACCESS"; cat <&3; } >`+out)})
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done("r")
	if b, _ := os.ReadFile(out); string(b) != "{\"fd\":3} /nowhere\nhello\n" {
		t.Errorf("the role saw %q", b)
	}
}

func TestSwapRunsAnotherProgram(t *testing.T) {
	s := supervisor(t)
	mark := filepath.Join(t.TempDir(), "second")
	if err := s.Start(Spec{Name: "r", Path: script(t, "exec sleep 60")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart("r", script(t, ": >"+mark+"; exec sleep 60")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second program runs", func() bool { _, err := os.Stat(mark); return err == nil })
	if err := s.Restart("nobody", ""); err == nil {
		t.Error("Restart of an unknown role was accepted")
	}
	s.Stop("r", time.Minute)
}

func TestWordsGoToStderrWhenAsked(t *testing.T) {
	s := supervisor(t)
	s.Ending()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s.Stderr = w
	if err := s.Start(Spec{Name: "r", Path: script(t, "echo words >&2"), Final: true}); err != nil {
		t.Fatal(err)
	}
	<-s.Done("r")
	w.Close()
	if b, _ := io.ReadAll(r); string(b) != "words\n" {
		t.Errorf("stderr got %q", b)
	}
}

// TestFailedRestartDoesNotHang: a role that had been given up, and whose new program
// cannot be started, can still be stopped.
func TestFailedRestartDoesNotHang(t *testing.T) {
	s := supervisor(t)
	gone := make(chan struct{})
	s.GaveUp = func(string, error) { close(gone) }
	if err := s.Start(Spec{Name: "r", Path: script(t, "exit 1")}); err != nil {
		t.Fatal(err)
	}
	<-gone
	if err := s.Restart("r", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a program that is not there was started")
	}
	if st := s.States(); len(st) != 1 || st[0].PID != 0 || st[0].Error == "" {
		t.Errorf("the role is %+v", st)
	}
	s.Stop("r", time.Minute)
}
