package keyhook

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"clipper/bus/natsbus"

	"golang.org/x/sys/unix"
)

// spawner stands in for `clipper up`: it keeps what outlives a supervisor.
type spawner struct {
	t        *testing.T
	b        *bench
	shared   *Shared
	listener *os.File
	killable bool
	files    []KeyLogFile
	keyLog   string
	json     string
	stderr   strings.Builder
}

// start starts a supervisor and waits until it serves.
func (s *spawner) start() *exec.Cmd {
	s.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	o, err := json.Marshal(Options{ListenerFD: 3, RingFD: 4, StateFD: 5, ReadyFD: 6, Killable: s.killable, KeyLogFiles: s.files})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.b.self, "serve", s.keyLog, s.json)
	cmd.Env = append(os.Environ(), natsbus.OptionsEnv+"="+string(o))
	cmd.ExtraFiles = []*os.File{s.listener, s.shared.Ring, s.shared.State, w}
	cmd.Stderr = &s.stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	if n, err := r.Read(make([]byte, 1)); n != 1 {
		s.t.Fatalf("the supervisor is not ready: %v\n%s", err, s.stderr.String())
	}
	return cmd
}

// TestSupervisorKilled kills and stops the supervisor again and again while programs
// start and talk: none of them may notice, no secret may be lost.
func TestSupervisorKilled(t *testing.T) {
	b := newBench(t)
	srv := newServer(t, tls.VersionTLS13)
	client := b.build(t, "goclient", "go-client", "-ldflags=-s -w")
	dir := t.TempDir()
	shared, err := NewShared()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	s := &spawner{t: t, b: b, shared: shared, keyLog: filepath.Join(dir, "keys.log"), json: filepath.Join(dir, "keys.json")}
	add, files, err := Environment(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.files = files
	const rounds = 25
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do
		curl -sk --fail %[2]s >/dev/null || exit 11
		%[3]s %[2]s >/dev/null || exit 12
		i=$((i+1)); done`, rounds, srv.URL, client)
	// As in RunKeys: the parent's thread waits for nothing else.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self := os.Args[0]
	defer func() { os.Args[0] = self }()
	app, listener, killable, ready, err := startApp("/bin/sh", []string{"sh", "-c", script}, append(os.Environ(), add...), KeysOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.killable = os.NewFile(uintptr(listener), "listener"), killable
	defer s.listener.Close()
	sup := s.start()
	unix.Write(ready, []byte{1})
	done := make(chan int)
	go func() { done <- waitApp(app) }()
	const most = 200 // then a slow machine gets on with it
	kills := 0
	code := -1
	hang := time.After(5 * time.Minute)
	for code < 0 {
		var kill <-chan time.Time
		if kills < most {
			kill = time.After(time.Duration(5+rand.Intn(60)) * time.Millisecond)
		}
		select {
		case code = <-done:
		case <-kill:
			if kills%3 == 2 { // stopped in good order
				sup.Process.Signal(syscall.SIGTERM)
			} else {
				sup.Process.Kill()
			}
			sup.Wait()
			kills++
			sup = s.start()
		case <-hang:
			t.Fatal("the program hangs")
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	sup.Process.Signal(syscall.SIGTERM)
	if err := sup.Wait(); err != nil {
		t.Errorf("the supervisor: %v\n%s", err, s.stderr.String())
	}
	log, err := os.ReadFile(s.keyLog)
	if err != nil {
		t.Fatal(err)
	}
	truth, ours := srv.lines(), keyLogLines(string(log))
	missing := 0
	for l := range truth {
		if !ours[l] {
			missing++
		}
	}
	if want := 2 * rounds * 4; len(truth) != want {
		t.Errorf("the server logged %d secrets, want %d", len(truth), want)
	}
	// The one moment that cannot be bridged is the one between the answer and
	// the stop. Who was in it is reported.
	events, err := os.ReadFile(s.json)
	if err != nil {
		t.Fatal(err)
	}
	unhooked := strings.Count(string(events), "supervisor was restarted")
	if missing > 4*unhooked {
		t.Errorf("%d of %d secrets are missing after %d kills, %d programs are reported\n%s", missing, len(truth), kills, unhooked, s.stderr.String())
	}
	if kills == 0 {
		t.Error("no kill happened")
	}
	t.Logf("%d kills, %d secrets, %d missing, %d programs reported, %d orphans", kills, len(truth), missing, unhooked, strings.Count(s.stderr.String(), "left in a dance"))
}
